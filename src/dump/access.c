// access.c -- The public calls that read a dump.
//
// A finished dump does not change, so they take no lock.
//
//   P1  weft_dump_free lowers `references` (release) -> the last one (acquire):
//       it frees the dump only after all others have done with it.
#include "dump/model.h"

#include <errno.h>
#include <string.h>

int weft_dump_get_info(const weft_dump *dump, weft_dump_info *ret)
{
    if (!dump || !ret)
        return -EINVAL;
    *ret = (weft_dump_info){
        .wall_time_ns = dump->wall_time_ns,
        .process_start_ns = dump->process_start_ns,
        .pause_ns = dump->pause_ns,
        .total_ns = dump->total_ns,
        .slice_ns = dump->slice_ns,
        .consistent = dump->consistent,
        .complete = dump->complete,
        .problem = dump->problem,
        .pid = dump->pid,
        .runtime = dump->runtime,
        .tasks = dump->task_count,
        .workers = dump->worker_count,
        .stacks = dump->stack_count,
        .objects = dump->object_count,
        .sites = dump->site_count,
        .findings = dump->finding_count,
        .threads = dump->thread_count,
    };
    return 0;
}

int weft_dump_get_task(const weft_dump *dump, size_t index,
                       weft_dump_task *ret_task)
{
    if (!dump || !ret_task)
        return -EINVAL;
    if (index >= dump->task_count)
        return -ENOENT;
    const struct model_task task = model_task(dump, index);

    const struct model_choice *choice = model_choice(dump, index);

    *ret_task = (weft_dump_task){
        .id = task.id,
        .handle = {task.handle},
        .name = model_text(dump, task.name),
        .state = task.state,
        .state_ns = task.state_ns,
        .age_ns = task.age_ns,
        .cpu_ns = task.cpu_ns,
        .schedules = task.schedules,
        .wait = task.wait,
        .object = task.object,
        .wait_task = task.wait_task,
        .wait_fd = task.wait_fd,
        .wait_write = task.wait_write,
        .timeout_in_ns = task.timeout_in_ns,
        .worker = task.worker,
        .queue_place = task.queue_place,
        .stack = task.stack,
        .site = task.site,
        .parent = task.parent,
        .stack_used = task.stack_used,
        .stack_size = task.stack_size,
        .labels = task.label_count,
        .holds = task.held_count,
        .clauses = choice == NULL ? 0 : choice->count,
        .clauses_more = choice == NULL ? 0 : choice->total - choice->count,
    };
    return 0;
}

int weft_dump_find_task(const weft_dump *dump, uint64_t id, size_t *ret_index)
{
    if (!dump || !ret_index)
        return -EINVAL;
    uint32_t index = model_find(dump, id);

    if (index == WEFT_NONE)
        return -ENOENT;
    *ret_index = index;
    return 0;
}

int weft_dump_get_label(const weft_dump *dump, size_t index, size_t which,
                        const char **ret_key, const char **ret_value)
{
    if (!dump || !ret_key || !ret_value)
        return -EINVAL;
    if (index >= dump->task_count ||
        which >= model_task(dump, index).label_count)
        return -ENOENT;
    const char *key = model_text(dump, model_task(dump, index).labels);

    for (size_t i = 0; i < 2 * which; i++)
        key += strlen(key) + 1;
    *ret_key = key;
    *ret_value = key + strlen(key) + 1;
    return 0;
}

int weft_dump_get_held(const weft_dump *dump, size_t index, size_t which,
                       uint32_t *ret_object)
{
    if (!dump || !ret_object)
        return -EINVAL;
    if (index >= dump->task_count ||
        which >= model_task(dump, index).held_count)
        return -ENOENT;
    *ret_object = dump->held[model_task(dump, index).held + which];
    return 0;
}

int weft_dump_get_clause(const weft_dump *dump, size_t index, size_t which,
                         weft_dump_clause *ret_clause)
{
    if (!dump || !ret_clause)
        return -EINVAL;
    if (index >= dump->task_count)
        return -ENOENT;
    const struct model_choice *choice = model_choice(dump, index);

    if (choice == NULL || which >= choice->count)
        return -ENOENT;
    const struct model_clause *clause = &dump->clauses[choice->clause + which];

    *ret_clause = (weft_dump_clause){
        .wait = clause->wait,
        .object = clause->object,
        .wait_task = clause->task,
        .wait_fd = clause->fd,
        .wait_write = clause->write,
    };
    return 0;
}

int weft_dump_get_object(const weft_dump *dump, size_t index,
                         weft_dump_object *ret_object)
{
    if (!dump || !ret_object)
        return -EINVAL;
    if (index >= dump->object_count)
        return -ENOENT;
    const struct model_object *object = &dump->objects[index];

    *ret_object = (weft_dump_object){
        .kind = object->kind,
        .name = model_text(dump, object->name),
        .address = object->address,
        .owner = object->owner,
        .owner_tid = object->owner_tid,
        .taken_pc = object->taken_pc,
        .held_ns = object->held_ns,
        .holders = object->holder_count,
        .waiters = object->waiter_count,
        .used = object->used,
        .limit = object->limit,
    };
    return 0;
}

int weft_dump_get_waiter(const weft_dump *dump, size_t index, size_t which,
                         uint64_t *ret_task)
{
    if (!dump || !ret_task)
        return -EINVAL;
    if (index >= dump->object_count ||
        which >= dump->objects[index].waiter_count)
        return -ENOENT;
    uint32_t waiter = model_waiter(dump, (uint32_t)index, (uint32_t)which);

    if (waiter == WEFT_NONE)
        return -ENOMEM;

    *ret_task = model_task(dump, waiter).id;
    return 0;
}

int weft_dump_get_holder(const weft_dump *dump, size_t index, size_t which,
                         uint64_t *ret_task)
{
    if (!dump || !ret_task)
        return -EINVAL;
    if (index >= dump->object_count ||
        which >= dump->objects[index].holder_count)
        return -ENOENT;
    uint32_t holder = dump->holders[dump->objects[index].holder + which];

    *ret_task = model_task(dump, holder).id;
    return 0;
}

int weft_dump_get_worker(const weft_dump *dump, size_t index,
                         weft_dump_worker *ret_worker)
{
    if (!dump || !ret_worker)
        return -EINVAL;
    if (index >= dump->worker_count)
        return -ENOENT;
    *ret_worker = dump->workers[index];
    return 0;
}

int weft_dump_get_thread(const weft_dump *dump, size_t index,
                         weft_dump_thread *ret_thread)
{
    if (!dump || !ret_thread)
        return -EINVAL;
    if (index >= dump->thread_count)
        return -ENOENT;
    *ret_thread = dump->threads[index].shown;
    return 0;
}

int weft_dump_get_stack(const weft_dump *dump, size_t index,
                        const uintptr_t **ret_pcs, size_t *ret_count,
                        enum weft_stack_end *ret_end, const char **ret_error)
{
    if (!dump || !ret_pcs || !ret_count || !ret_end || !ret_error)
        return -EINVAL;
    if (index >= dump->stack_count)
        return -ENOENT;
    const struct model_stack *stack = &dump->stacks[index];

    *ret_pcs = dump->pcs + stack->pc;
    *ret_count = stack->count;
    *ret_end = stack->end;
    *ret_error = model_text(dump, stack->error);
    return 0;
}

int weft_dump_get_site(const weft_dump *dump, size_t index, uintptr_t *ret_pc)
{
    if (!dump || !ret_pc)
        return -EINVAL;
    if (index >= dump->site_count)
        return -ENOENT;
    *ret_pc = dump->sites[index];
    return 0;
}

int weft_dump_get_finding(const weft_dump *dump, size_t index,
                          weft_dump_finding *ret_finding)
{
    if (!dump || !ret_finding)
        return -EINVAL;
    if (index >= dump->finding_count)
        return -ENOENT;
    const struct model_finding *finding = &dump->findings[index];

    *ret_finding = (weft_dump_finding){
        .rule = finding->rule,
        .severity = finding->severity,
        .certainty = finding->certainty,
        .since_ns = finding->since_ns,
        .threshold_ns = finding->threshold_ns,
        .tasks = finding->task_count,
        .behind = finding->behind_count,
        .worker = finding->worker,
        .object = finding->object,
        .site = finding->site,
        .count = finding->count,
    };
    return 0;
}

int weft_dump_get_finding_task(const weft_dump *dump, size_t index,
                               size_t which, uint64_t *ret_task,
                               uint32_t *ret_object)
{
    if (!dump || !ret_task || !ret_object)
        return -EINVAL;
    if (index >= dump->finding_count ||
        which >= dump->findings[index].task_count)
        return -ENOENT;
    const struct model_finding *finding = &dump->findings[index];
    size_t before = (which ? which : finding->task_count) - 1;

    *ret_task = model_task(dump, finding->tasks[which]).id;
    if (which == 0 && finding->rule != WEFT_RULE_DEADLOCK)
        *ret_object = finding->object;
    else
        *ret_object = finding->objects ? finding->objects[before] : WEFT_NONE;
    return 0;
}

int weft_dump_get_finding_behind(const weft_dump *dump, size_t index,
                                 size_t which, uint64_t *ret_task)
{
    if (!dump || !ret_task)
        return -EINVAL;
    if (index >= dump->finding_count ||
        which >= dump->findings[index].behind_count)
        return -ENOENT;
    *ret_task = model_task(dump, dump->findings[index].behind[which]).id;
    return 0;
}

void weft_dump_free(weft_dump *dump)
{
    if (dump && sub_acq_rel(&dump->references, 1) == 1) // P1
        model_free(dump);
}
