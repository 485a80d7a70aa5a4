// plugin.h -- What the modules of test_modules.py have in common.
#ifndef WEFT_TESTS_MODULES_PLUGIN_H
#define WEFT_TESTS_MODULES_PLUGIN_H

// Keeps a call before it from becoming a jump.
#define STAY __asm__ volatile("")

typedef void plugin_fn(void *arg);

// An entry of a module: calls fn(arg) from within functions of its own.
typedef void plugin_entry(plugin_fn *fn, void *arg);

#endif
