// take.c -- Dumps of a process that is not asked.
//
// All of its memory is untrusted: counts are bounded before they are used,
// lists by what is stored of them, and what cannot be read is left out and
// said. Structs are read as they lie there, so both sides must agree on them:
// beacon.h.
#include "remote/take.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/far.h"
#include "remote/modules.h"

struct take {
    struct target *target;
    const char *name; // of the runtimes wanted, or NULL
    struct modules modules;
    struct far_runtime *far[RUNTIMES_MAX + 1]; // by tag
};

static int fail(struct take *take, int error, const char *why)
{
    snprintf(take->target->problem, sizeof take->target->problem, "%s", why);
    return -error;
}

// ---- Whose structs they are ----

static int refuse_version(struct take *take, const char *which)
{
    snprintf(take->target->problem, sizeof take->target->problem,
             "it runs weft %.15s, %s than this command (of weft %s) can read: "
             "use the command that came with that weft",
             take->modules.beacon.library, which, beacon.library);
    return -EPROTO;
}

static int check_beacon(struct take *take)
{
    const struct beacon *b = &take->modules.beacon;

    if (!take->modules.has_beacon)
        return fail(take, ENOENT,
                    "it is not a weft program: no module of it has weft's mark "
                    "(section .note.weft)");
    if (b->version < beacon.version)
        return refuse_version(take, "older");
    if (b->version > beacon.version)
        return refuse_version(take, "newer");
    if (b->size == beacon.size &&
        memcmp(b->layout, beacon.layout, sizeof b->layout) == 0)
        return 0;
    snprintf(take->target->problem, sizeof take->target->problem,
             "it runs another build of weft %.15s, whose structures this "
             "command (of weft %s) does not know: use the command that came "
             "with that weft",
             b->library, beacon.library);
    return -EPROTO;
}

// ---- Which runtimes ----

static int read_registry(struct take *take, uintptr_t *ret_registry)
{
    size_t bytes = (RUNTIMES_MAX + 1) * sizeof *ret_registry;

    if (space_read_all(&take->target->space, take->modules.beacon.registry,
                       ret_registry, bytes))
        return 0;
    return fail(take, EIO, "its list of runtimes cannot be read");
}

static bool is_wanted(const struct take *take, uintptr_t address)
{
    char name[WEFT_NAME_MAX];

    if (take->name == NULL)
        return true;
    if (!space_read_all(&take->target->space,
                        address + offsetof(struct weft_runtime, name), name,
                        sizeof name))
        return false;
    return strncmp(name, take->name, sizeof name) == 0;
}

static void drop(struct take *take, uint32_t tag)
{
    if (take->far[tag] != NULL)
        far_free(take->far[tag]);
    take->far[tag] = NULL;
}

static int prepare(struct take *take, uint32_t tag, uintptr_t address)
{
    struct far_runtime *far = aligned_alloc(64, (sizeof *far + 63) & ~63ul);

    drop(take, tag);
    if (far == NULL)
        return -ENOMEM;
    memset((void *)far, 0, sizeof *far);
    far->target = take->target;
    far->modules = &take->modules;
    far->address = address;
    take->far[tag] = far;
    return far_prepare(far);
}

// Those that are wanted and there now; others, which have ended, are dropped.
// How many, or -errno.
static int find_runtimes(struct take *take)
{
    uintptr_t registry[RUNTIMES_MAX + 1];
    int error = read_registry(take, registry);
    int count = 0;

    for (uint32_t tag = 1; tag <= RUNTIMES_MAX && error == 0; tag++) {
        const struct far_runtime *far = take->far[tag];
        if (registry[tag] == 0 || !is_wanted(take, registry[tag]))
            drop(take, tag);
        else if (far == NULL || far->address != registry[tag])
            error = prepare(take, tag, registry[tag]);
        count += take->far[tag] != NULL;
    }
    if (error == -EIO && take->target->problem[0] == '\0')
        return fail(take, EIO, "its runtime is damaged, or cannot be read");
    return error == 0 ? count : error;
}

static int refuse_name(struct take *take)
{
    if (take->name == NULL)
        return fail(take, ENOENT, "it has no runtime now");
    snprintf(take->target->problem, sizeof take->target->problem,
             "it has no runtime called \"%.*s\" now", WEFT_NAME_MAX,
             take->name);
    return -ENOENT;
}

// ---- All of it ----

static int read_modules(struct take *take)
{
    int error = modules_read(&take->modules, take->target);

    if (error != 0 && error != -ENOMEM)
        return fail(take, -error, "its memory map cannot be read");
    return error == 0 ? check_beacon(take) : error;
}

// While it stands.
static int look(struct take *take)
{
    int count = find_runtimes(take);
    int error = count < 0 ? count : 0;

    if (count == 0)
        return refuse_name(take);
    for (uint32_t tag = 1; tag <= RUNTIMES_MAX && error == 0; tag++)
        if (take->far[tag] != NULL)
            error = far_copy(take->far[tag]);
    if (error == -EIO && take->target->problem[0] == '\0')
        return fail(take, EIO, "its workers or its table cannot be read");
    return error;
}

// All of them, and then what they cost.
static int finish(struct take *take, int64_t began_ns,
                  struct remote_dumps *ret_dumps)
{
    struct target *target = take->target;
    int error = 0;

    for (uint32_t tag = 1; tag <= RUNTIMES_MAX && error == 0; tag++) {
        struct far_runtime *far = take->far[tag];
        if (far == NULL)
            continue;
        error = far_finish(far);
        if (error != 0)
            break;
        ret_dumps->dumps[ret_dumps->count++] = far->dump;
        far->dump = NULL;
    }
    target->kind->resume(target);
    for (size_t i = 0; i < ret_dumps->count; i++) {
        ret_dumps->dumps[i]->pause_ns = target->stood_ns;
        ret_dumps->dumps[i]->total_ns =
            target->took_ns != 0 ? target->took_ns : port_now() - began_ns;
    }
    return error;
}

static int take_all(struct take *take, struct remote_dumps *ret_dumps)
{
    struct target *target = take->target;
    int64_t began_ns = port_now();
    int error = read_modules(take);

    if (error == 0)
        error = find_runtimes(take);
    if (error >= 0)
        error = target->kind->stop(target);
    if (error == 0)
        error = look(take);
    if (error != 0 || !target->frozen)
        target->kind->resume(target);
    return error == 0 ? finish(take, began_ns, ret_dumps) : error;
}

int remote_take(struct target *target, const char *name,
                struct remote_dumps *ret_dumps)
{
    struct take take = {.target = target, .name = name};

    *ret_dumps = (struct remote_dumps){0};
    int error = take_all(&take, ret_dumps);
    if (error != 0) {
        remote_free(ret_dumps);
        if (target->problem[0] == '\0')
            (void)fail(&take, -error, strerror(-error));
    }
    for (uint32_t tag = 1; tag <= RUNTIMES_MAX; tag++)
        drop(&take, tag);
    modules_free(&take.modules);
    return error;
}

void remote_free(struct remote_dumps *dumps)
{
    for (size_t i = 0; i < dumps->count; i++)
        weft_dump_free(dumps->dumps[i]);
    dumps->count = 0;
}
