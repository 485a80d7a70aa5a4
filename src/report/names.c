// names.c -- The names that belong to a dump, under its lock.
#include "report/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump/model.h"
#include "report/frames.h"
#include "report/symbols.h"
#include "sync/blocking.h"

// Looks up at once where tasks were started and objects were taken.
static int load_places(const weft_dump *dump, struct symbols *symbols)
{
    size_t used = 0;
    uintptr_t *pcs = malloc((dump->object_count + 1) * sizeof(*pcs));

    if (!pcs)
        return -ENOMEM;
    for (size_t i = 0; i < dump->object_count; i++)
        if (dump->objects[i].taken_pc)
            pcs[used++] = dump->objects[i].taken_pc;
    int failed = symbols_load(symbols, pcs, used);
    free(pcs);
    return failed ? failed
                  : symbols_load(symbols, dump->sites, dump->site_count);
}

// Names every pc of the dump: those of the stacks at once, so that their places
// there can tell which are weft's own. Out of memory, later look-ups say so.
static void load_all(const weft_dump *dump, struct symbols *symbols)
{
    if (symbols_load(symbols, dump->pcs, dump->pc_count) != 0 ||
        load_places(dump, symbols) != 0)
        return;
    for (size_t i = 0; i < dump->stack_count; i++)
        symbols_mark_stack(symbols, dump->pcs + dump->stacks[i].pc,
                           dump->stacks[i].count);
}

// The dump's symbols with its lock held, or NULL without it. They are a memory
// of what the dump means, not a part of it, hence the cast.
static struct symbols *acquire(const weft_dump *dump)
{
    struct weft_dump *memory = (struct weft_dump *)dump;

    lock_acquire(&memory->names_lock);
    if (!memory->names) {
        memory->names =
            symbols_new(dump->modules, dump->module_count, dump->entry);
        memory->names_free = symbols_free;
        if (memory->names)
            load_all(dump, memory->names);
    }
    if (memory->names)
        return memory->names;
    lock_release(&memory->names_lock);
    return NULL;
}

static void release(const weft_dump *dump)
{
    lock_release(&((struct weft_dump *)dump)->names_lock);
}

const char *names_limit(const weft_dump *dump)
{
    struct symbols *symbols = acquire(dump);

    if (!symbols)
        return "no memory";
    const char *limit = symbols_limit(symbols);
    release(dump);
    return limit;
}

const char *names_missing(const weft_dump *dump, size_t module)
{
    struct symbols *symbols = acquire(dump);

    if (!symbols)
        return "no memory";
    const char *missing = symbols_missing(symbols, module);
    release(dump);
    return missing;
}

struct question {
    const weft_dump *dump;
    uintptr_t pc;
    weft_frame *frames;
    size_t max;
    int count; // the answer
};

static void *answer(void *arg)
{
    struct question *question = arg;
    struct symbols *symbols = acquire(question->dump);

    question->count = -ENOMEM;
    if (!symbols)
        return NULL;
    question->count =
        symbols_lookup(symbols, question->pc, question->frames, question->max);
    release(question->dump);
    return NULL;
}

// Answers without waiting for anybody, if the name is known already.
static bool answer_at_once(struct question *question)
{
    struct weft_dump *memory = (struct weft_dump *)question->dump;
    bool known = false;

    if (!lock_try(&memory->names_lock))
        return false;
    if (memory->names && symbols_know(memory->names, question->pc)) {
        question->count = symbols_lookup(memory->names, question->pc,
                                         question->frames, question->max);
        known = true;
    }
    lock_release(&memory->names_lock);
    return known;
}

int weft_dump_get_frames(const weft_dump *dump, uintptr_t pc,
                         weft_frame *ret_frames, size_t max)
{
    struct question question = {dump, pc, ret_frames, max, 0};

    if (!dump || (!ret_frames && max))
        return -EINVAL;
    if (!answer_at_once(&question))
        (void)blocking_run_aside(answer, &question);
    return question.count;
}

int names_find_place(const weft_dump *dump, uintptr_t pc, weft_frame *ret_frame)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    int count = weft_dump_get_frames(dump, pc, frames, FRAMES_PER_PC_MAX);
    int at = 0;

    if (count < 0)
        return count;
    while (at < count - 1 && frames[at].runtime)
        at++;
    *ret_frame = frames[at];
    return 0;
}

// Whether a frame is of libc, through which programs enter the kernel.
static bool is_of_libc(const weft_frame *frame)
{
    const char *slash =
        frame->module == NULL ? NULL : strrchr(frame->module, '/');

    return slash != NULL && (strncmp(slash, "/libc.so", 8) == 0 ||
                             strncmp(slash, "/libc-", 6) == 0);
}

int names_find_top(const weft_dump *dump, uint32_t stack, weft_frame *ret_frame)
{
    if (stack >= dump->stack_count)
        return 0;
    const struct model_stack *about = &dump->stacks[stack];
    int best = 0; // what *ret_frame is: 1 weft's own, 2 of libc, 3 neither

    for (uint32_t i = 0; i < about->count && best < 3; i++) {
        weft_frame frame;
        int failed = names_find_place(dump, dump->pcs[about->pc + i], &frame);
        if (failed)
            return failed;
        int rank = frame.runtime ? 1 : is_of_libc(&frame) ? 2 : 3;
        if (rank > best) {
            *ret_frame = frame;
            best = rank;
        }
    }
    return best > 0;
}
