// json_stacks.c -- Modules, frames, stacks and spawn sites as JSON.
#include <errno.h>
#include <stdlib.h>

#include "report/frames.h"
#include "report/json_view.h"
#include "report/names.h"

// ---- The frames of all stacks. ----

static int by_address(const void *left, const void *right)
{
    uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;

    return a < b ? -1 : a > b;
}

static int number_frames(struct json_view *view)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    uint32_t number = 0;

    for (size_t i = 0; i < view->pc_count; i++) {
        int count = weft_dump_get_frames(view->dump, view->pcs[i], frames,
                                         FRAMES_PER_PC_MAX);
        if (count < 0)
            return count;
        view->first_frame[i] = number;
        number += (uint32_t)count;
    }
    view->first_frame[view->pc_count] = number;
    return 0;
}

int json_stacks_init(struct json_view *view)
{
    const weft_dump *dump = view->dump;
    size_t used = 0;

    view->pcs = malloc((dump->pc_count + 1) * sizeof(*view->pcs));
    view->first_frame =
        malloc((dump->pc_count + 1) * sizeof(*view->first_frame));
    if (!view->pcs || !view->first_frame)
        return -ENOMEM;
    for (size_t i = 0; i < dump->stack_count; i++)
        for (uint32_t j = 0; j < dump->stacks[i].count; j++)
            if (used < dump->pc_count)
                view->pcs[used++] = dump->pcs[dump->stacks[i].pc + j];
    if (used)
        qsort(view->pcs, used, sizeof(*view->pcs), by_address);
    for (size_t i = 0; i < used; i++)
        if (i == 0 || view->pcs[i] != view->pcs[view->pc_count - 1])
            view->pcs[view->pc_count++] = view->pcs[i];
    return number_frames(view);
}

void json_stacks_deinit(struct json_view *view)
{
    free(view->pcs);
    free(view->first_frame);
}

static size_t find_pc(const struct json_view *view, uintptr_t pc)
{
    const uintptr_t *found =
        bsearch(&pc, view->pcs, view->pc_count, sizeof(*view->pcs), by_address);

    return found - view->pcs;
}

// ---- Modules. ----

void json_modules(struct json_view *view)
{
    struct json *json = &view->json;

    json_key(json, "modules");
    json_open(json, '[');
    for (size_t i = 0; i < view->dump->module_count; i++) {
        const struct model_module *module = &view->dump->modules[i];
        json_line(json, 2);
        json_open(json, '{');
        json_key(json, "id");
        json_int(json, (int64_t)i);
        json_key(json, "path");
        json_text(json, module->path);
        json_key(json, "build_id");
        json_text(json, module->build_id);
        json_key(json, "start");
        json_hex(json, module->start);
        json_key(json, "end");
        json_hex(json, module->end);
        json_key(json, "bias");
        json_hex(json, module->bias);
        json_key(json, "no_names");
        json_text(json, names_missing(view->dump, i));
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_module(struct json_view *view, uintptr_t pc)
{
    for (size_t i = 0; i < view->dump->module_count; i++)
        if (pc - 1 >= view->dump->modules[i].start &&
            pc - 1 < view->dump->modules[i].end) {
            json_int(&view->json, (int64_t)i);
            return;
        }
    json_null(&view->json);
}

// ---- Frames and stacks. ----

static void put_place(struct json *json, const weft_frame *frame)
{
    json_key(json, "function");
    json_text(json, frame->function);
    json_key(json, "file");
    json_text(json, frame->file);
    json_key(json, "line");
    if (frame->line > 0)
        json_int(json, frame->line);
    else
        json_null(json);
}

static void put_frame(struct json_view *view, const weft_frame *frame,
                      uint32_t id)
{
    struct json *json = &view->json;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_int(json, id);
    json_key(json, "pc");
    json_hex(json, frame->pc);
    put_place(json, frame);
    json_key(json, "module");
    put_module(view, frame->pc);
    json_key(json, "offset");
    if (frame->module)
        json_hex(json, frame->offset);
    else
        json_null(json);
    json_key(json, "unnamed");
    json_text(json, frame->unnamed);
    json_key(json, "inlined");
    json_bool(json, frame->inlined);
    json_key(json, "runtime");
    json_bool(json, frame->runtime);
    json_close(json, '}');
}

void json_frames(struct json_view *view)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    struct json *json = &view->json;

    json_key(json, "frames");
    json_open(json, '[');
    for (size_t i = 0; i < view->pc_count; i++) {
        int count = weft_dump_get_frames(view->dump, view->pcs[i], frames,
                                         FRAMES_PER_PC_MAX);
        for (int j = 0; j < count; j++)
            put_frame(view, &frames[j], view->first_frame[i] + j);
    }
    json_close(json, ']');
}

// The id of the outermost frame of a stack that is not empty.
static uint32_t last_frame(const struct json_view *view,
                           const struct model_stack *stack)
{
    uintptr_t pc = view->dump->pcs[stack->pc + stack->count - 1];

    return view->first_frame[find_pc(view, pc) + 1] - 1;
}

// The frames of a stack; *ret_cut_at is how many stand before the cut.
static void put_stack_frames(struct json_view *view,
                             const struct model_stack *stack,
                             uint32_t *ret_cut_at)
{
    uint32_t written = 0;

    for (uint32_t i = 0; i < stack->count; i++) {
        size_t at = find_pc(view, view->dump->pcs[stack->pc + i]);
        if (i == stack->cut_at)
            *ret_cut_at = written;
        for (uint32_t frame = view->first_frame[at];
             frame < view->first_frame[at + 1]; frame++) {
            json_int(&view->json, frame);
            written++;
        }
    }
}

static void put_stack(struct json_view *view, size_t index)
{
    static const char *const ends[] = {
        [WEFT_STACK_WHOLE] = "whole",
        [WEFT_STACK_CUT] = "cut",
        [WEFT_STACK_BROKEN] = "broken",
        [WEFT_STACK_UNKNOWN] = "unknown",
    };
    const struct model_stack *stack = &view->dump->stacks[index];
    const char *error = model_text(view->dump, stack->error);
    struct json *json = &view->json;
    uint32_t cut_at = 0;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_int(json, (int64_t)index);
    json_key(json, "frames");
    json_open(json, '[');
    put_stack_frames(view, stack, &cut_at);
    json_close(json, ']');
    json_key(json, "truncated");
    json_bool(json, stack->end != WEFT_STACK_WHOLE);
    json_key(json, "error");
    json_text(json, error ? error
                    : stack->end == WEFT_STACK_BROKEN
                        ? "cannot be unwound further"
                        : NULL);
    json_key(json, "error_frame");
    if (stack->end == WEFT_STACK_BROKEN && stack->count > 0)
        json_int(json, last_frame(view, stack));
    else
        json_null(json);
    json_key(json, "end");
    json_text(json, ends[stack->end]);
    json_key(json, "left_out");
    json_int(json, stack->end == WEFT_STACK_CUT ? stack->cut : 0);
    json_key(json, "left_out_at");
    if (stack->end == WEFT_STACK_CUT)
        json_int(json, cut_at);
    else
        json_null(json);
    json_close(json, '}');
}

void json_stacks(struct json_view *view)
{
    json_key(&view->json, "stacks");
    json_open(&view->json, '[');
    for (size_t i = 0; i < view->dump->stack_count; i++)
        put_stack(view, i);
    json_close(&view->json, ']');
}

// ---- Places. ----

void json_place(struct json_view *view, uintptr_t pc)
{
    struct json *json = &view->json;
    weft_frame frame;

    if (!pc || names_find_place(view->dump, pc, &frame)) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    put_place(json, &frame);
    json_close(json, '}');
}

void json_top(struct json_view *view, uint32_t stack)
{
    struct json *json = &view->json;
    weft_frame frame;

    if (names_find_top(view->dump, stack, &frame) <= 0) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    put_place(json, &frame);
    json_close(json, '}');
}

void json_sites(struct json_view *view)
{
    struct json *json = &view->json;
    weft_frame frame;

    json_key(json, "sites");
    json_open(json, '[');
    for (size_t i = 0; i < view->dump->site_count; i++) {
        uintptr_t pc = view->dump->sites[i];
        if (names_find_place(view->dump, pc, &frame))
            frame = (weft_frame){.pc = pc};
        json_line(json, 2);
        json_open(json, '{');
        json_key(json, "id");
        json_int(json, (int64_t)i);
        put_place(json, &frame);
        json_key(json, "pc");
        json_hex(json, pc);
        json_close(json, '}');
    }
    json_close(json, ']');
}
