// json_threads.c -- Threads that are no workers, and system calls, as JSON.
#include "dump/calls.h"
#include "report/json_view.h"

void json_syscall(struct json *json, long call, int fd, const char *fd_name,
                  int64_t in_call_ns)
{
    int fd_arg;

    json_open(json, '{');
    json_key(json, "number");
    json_int(json, call);
    json_key(json, "name");
    json_text(json, calls_name(call, &fd_arg));
    json_key(json, "fd");
    if (fd < 0)
        json_null(json);
    else
        json_int(json, fd);
    json_key(json, "fd_name");
    json_text(json, fd_name);
    json_key(json, "us");
    if (in_call_ns == 0)
        json_null(json);
    else
        json_us(json, in_call_ns);
    json_close(json, '}');
}

static void put_wait(struct json_view *view, const weft_dump_thread *t)
{
    struct json *json = &view->json;

    json_key(json, "wait");
    if (t->state != WEFT_THREAD_WAITING) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key(json, "kind");
    json_text(json, json_wait_name(t->wait));
    json_key(json, "addr");
    if (t->object)
        json_hex(json, t->object);
    else
        json_null(json);
    json_key(json, "object_name");
    json_text(json, t->object_name);
    json_key(json, "timeout_in_us");
    if (t->timeout_in_ns == WEFT_NEVER)
        json_null(json);
    else
        json_us(json, t->timeout_in_ns);
    json_key(json, "task"); // ids are those of one runtime
    json_task_id(view, t->runtime ? 0 : t->wait_task);
    json_close(json, '}');
}

static void put_call(struct json_view *view, const weft_dump_thread *t)
{
    struct json *json = &view->json;

    json_key(json, "function");
    json_place(view, t->fn_pc);
    json_key(json, "task");
    json_task_id(view, t->task);
    json_key(json, "syscall");
    if (t->in_syscall)
        json_syscall(json, t->syscall, t->syscall_fd, t->syscall_fd_name, 0);
    else
        json_null(json);
}

static void put_thread(struct json_view *view, const weft_dump_thread *t)
{
    static const char *const states[] = {
        [WEFT_THREAD_IDLE] = "idle",
        [WEFT_THREAD_CALLING] = "calling",
        [WEFT_THREAD_WAITING] = "waiting",
        [WEFT_THREAD_ENDING] = "ending",
    };
    struct json *json = &view->json;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "tid");
    json_int(json, t->tid);
    json_key(json, "kind");
    json_text(json, t->kind == WEFT_THREAD_POOL ? "pool" : "foreign");
    json_key(json, "name");
    json_text(json, t->name);
    json_key(json, "state");
    json_text(json, states[t->state]);
    json_key(json, "state_us");
    json_us(json, t->state_ns);
    put_wait(view, t);
    json_key(json, "runtime");
    json_text(json, t->runtime);
    put_call(view, t);
    json_key(json, "stack");
    if (t->stack == WEFT_NONE)
        json_null(json);
    else
        json_int(json, t->stack);
    json_close(json, '}');
}

void json_threads(struct json_view *view)
{
    json_key(&view->json, "threads");
    json_open(&view->json, '[');
    for (size_t i = 0; i < view->dump->thread_count; i++)
        put_thread(view, &view->dump->threads[i].shown);
    json_close(&view->json, ']');
}
