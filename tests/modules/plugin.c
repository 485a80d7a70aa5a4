// plugin.c -- A module for test_modules.py: functions that call back.
//
// With PLUGIN_OTHER it is another version of itself, with other places.
#include "modules/plugin.h"

#include <alloca.h>

plugin_entry plugin_run, plugin_deep, plugin_told, plugin_untold;

// From plugin_asm.S: with CFI and without frame pointer, and without both.
plugin_entry plugin_asm_told, plugin_asm_untold;

volatile int plugin_figure;

#ifdef PLUGIN_OTHER
plugin_entry plugin_another;

void plugin_another(plugin_fn *fn, void *arg)
{
    for (int i = 0; i < 8; i++) {
        fn(arg);
        plugin_figure += i * plugin_figure;
    }
}
#endif

static inline __attribute__((always_inline)) void plugin_inlined(plugin_fn *fn,
                                                                 void *arg)
{
    fn(arg);
    STAY;
}

static __attribute__((noinline)) void plugin_secret(plugin_fn *fn, void *arg)
{
    plugin_inlined(fn, arg);
    plugin_figure++;
}

void plugin_run(plugin_fn *fn, void *arg)
{
    plugin_secret(fn, arg);
    plugin_figure++;
}

// ---- Frames of several shapes. ----

static __attribute__((noinline)) void plugin_leaf(plugin_fn *fn, void *arg)
{
    volatile char room[200];

    room[0] = 1;
    fn(arg);
    plugin_figure += room[0];
}

// Many values live across the call: all registers that a callee must keep.
static __attribute__((noinline)) int plugin_crowd(plugin_fn *fn, void *arg)
{
    int a = plugin_figure, b = plugin_figure, c = plugin_figure;
    int d = plugin_figure, e = plugin_figure, f = plugin_figure;

    plugin_leaf(fn, arg);
    return a + 2 * b + 3 * c + 5 * d + 7 * e + 11 * f;
}

// A frame whose size is known only as it runs.
static __attribute__((noinline)) int plugin_sized(plugin_fn *fn, void *arg,
                                                  int size)
{
    volatile char *room = alloca((unsigned)size);

    room[size - 1] = 3;
    int sum = plugin_crowd(fn, arg);
    return sum + room[size - 1];
}

void plugin_deep(plugin_fn *fn, void *arg)
{
    plugin_figure += plugin_sized(fn, arg, 100 + (plugin_figure & 63));
}

void plugin_told(plugin_fn *fn, void *arg)
{
    plugin_asm_told(fn, arg);
    plugin_figure++;
}

void plugin_untold(plugin_fn *fn, void *arg)
{
    plugin_asm_untold(fn, arg);
    plugin_figure++;
}
