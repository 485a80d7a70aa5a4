// trace.c -- Traces of single tasks: reading, naming, printing, freeing them.
#include "dump/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "dump/model.h"
#include "report/frames.h"
#include "report/symbols.h"
#include "sync/blocking.h"
#include "task/switch.h"

int weft_trace_get_pcs(const weft_trace *trace, const uintptr_t **ret_pcs,
                       size_t *ret_count, enum weft_stack_end *ret_end)
{
    if (!trace || !ret_pcs || !ret_count || !ret_end)
        return -EINVAL;
    *ret_pcs = trace->pcs;
    *ret_count = trace->count;
    *ret_end = trace->end;
    return 0;
}

// Makes the symbols, with the lock held.
static int prepare(struct weft_trace *trace)
{
    if (!trace->modules) {
        int failed = model_load_modules(&trace->modules, &trace->module_count);
        if (failed)
            return failed;
    }
    if (trace->names)
        return 0;
    trace->names =
        symbols_new(trace->modules, trace->module_count, (uintptr_t)task_entry);
    if (!trace->names)
        return -ENOMEM;
    int failed = symbols_load(trace->names, trace->pcs, trace->count);
    if (!failed)
        symbols_mark_stack(trace->names, trace->pcs, trace->count);
    return failed;
}

static int get_frames(const weft_trace *trace, uintptr_t pc,
                      weft_frame *ret_frames, size_t max)
{
    // Names are a memory of what the trace means, not a part of it.
    struct weft_trace *memory = (struct weft_trace *)trace;

    lock_acquire(&memory->names_lock);
    int count = prepare(memory);
    if (count == 0)
        count = symbols_lookup(memory->names, pc, ret_frames, max);
    lock_release(&memory->names_lock);
    return count;
}

struct question {
    const weft_trace *trace;
    uintptr_t pc;
    weft_frame *frames;
    size_t max;
    int count; // the answer
};

static void *answer(void *arg)
{
    struct question *question = arg;

    question->count = get_frames(question->trace, question->pc,
                                 question->frames, question->max);
    return NULL;
}

int weft_trace_get_frames(const weft_trace *trace, uintptr_t pc,
                          weft_frame *ret_frames, size_t max)
{
    struct question question = {trace, pc, ret_frames, max, 0};

    if (!trace || (!ret_frames && max))
        return -EINVAL;
    (void)blocking_run_aside(answer, &question);
    return question.count;
}

// How many entries from `at` on are the same, as in a deep recursion.
static size_t count_same(const weft_trace *trace, size_t at)
{
    size_t same = 1;

    while (at + same < trace->count && trace->pcs[at + same] == trace->pcs[at])
        same++;
    return same;
}

// Why a trace ends where it does, if that is not at the outermost function.
static void print_end(const weft_trace *trace, struct str *line, FILE *file)
{
    weft_frame frames[FRAMES_PER_PC_MAX];

    if (trace->end != WEFT_STACK_BROKEN || trace->count == 0)
        return;
    int count = get_frames(trace, trace->pcs[trace->count - 1], frames,
                           FRAMES_PER_PC_MAX);
    str_add(line, "… the rest cannot be read");
    if (count > 0) {
        str_add(line, " past ");
        frames_add_function(line, &frames[count - 1], 24);
    }
    if (trace->error)
        str_addf(line, ": %s", trace->error);
    str_add(line, "\n");
    str_flush(line, file);
}

static int print(const weft_trace *trace, FILE *file)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    struct str line;

    str_init(&line, false, false);
    for (size_t i = 0; i < trace->count && !line.error;) {
        size_t same = count_same(trace, i);
        int count = get_frames(trace, trace->pcs[i], frames, FRAMES_PER_PC_MAX);
        if (count < 0)
            line.error = count;
        for (int j = 0; j < count; j++) {
            frames_add_line(&line, &frames[j], 0);
            str_flush(&line, file);
        }
        if (same > 1) {
            str_addf(&line, "  ... the same %zu more times\n", same - 1);
            str_flush(&line, file);
        }
        i += same;
    }
    print_end(trace, &line, file);
    str_deinit(&line);
    return line.error;
}

struct order {
    const weft_trace *trace;
    FILE *file;
    int failed;
};

static void *print_order(void *arg)
{
    struct order *order = arg;

    order->failed = print(order->trace, order->file);
    return NULL;
}

int weft_trace_print(const weft_trace *trace, FILE *file)
{
    struct order order = {trace, file, 0};

    if (!trace || !file)
        return -EINVAL;
    (void)blocking_run_aside(print_order, &order);
    return order.failed;
}

static void print_part(const uintptr_t *pcs, size_t count)
{
    struct weft_trace trace = {.pcs = (uintptr_t *)pcs, .count = count};

    (void)print(&trace, stderr); // there is nobody to tell
    symbols_free(trace.names);
    model_free_modules(trace.modules, trace.module_count);
}

void trace_print_pcs(const uintptr_t *pcs, size_t count, size_t gap_at,
                     uint64_t gap)
{
    size_t inner = gap > 0 ? gap_at : count;

    print_part(pcs, inner);
    if (gap == 0)
        return;
    fprintf(stderr, "  ... %llu frames are left out\n",
            (unsigned long long)gap);
    print_part(pcs + inner, count - inner);
}

void weft_trace_free(weft_trace *trace)
{
    if (!trace)
        return;
    symbols_free(trace->names);
    model_free_modules(trace->modules, trace->module_count);
    free(trace->pcs);
    free(trace);
}
