// blocking.c -- Calls that block their thread, made without holding up others.
//
// One worker runs two tasks. The first waits for a line of a pipe, by a plain
// read, which would keep the worker; the second writes it. The reader says that
// it blocks, in one of two ways: in place, where another worker takes over
// meanwhile, or by a thread of the pool.
//
// Prints: read: hello from the task behind
//         way 1 gave a line
//         read: hello from the task behind
//         way 2 gave a line
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

struct program {
    int ends[2]; // of the pipe
    int error;   // of the first call that failed
};

static char nothing[] = "nothing";
static char a_line[] = "a line";

static void *read_line(void *arg)
{
    struct program *program = arg;
    char line[64];
    ssize_t length = read(program->ends[0], line, sizeof line - 1);

    if (length < 0)
        return nothing;
    line[length] = '\0';
    printf("read: %s", line);
    return a_line;
}

static void *write_line(void *arg)
{
    struct program *program = arg;
    const char line[] = "hello from the task behind\n";

    if (write(program->ends[1], line, sizeof line - 1) < 0)
        perror("write");
    return NULL;
}

static void *start(void *arg)
{
    struct program *program = arg;
    int (*ways[])(weft_task_fn *, void *, void **) = {
        weft_blocking_run_here,
        weft_blocking_run,
    };

    for (int i = 0; i < 2 && program->error == 0; i++) {
        weft_task writer;
        void *got = nothing;
        program->error = weft_task_spawn(NULL, write_line, program, &writer);
        if (program->error != 0)
            break;
        program->error = ways[i](read_line, program, &got);
        printf("way %d gave %s\n", i + 1, (const char *)got);
        weft_task_join(writer, WEFT_NEVER, NULL);
    }
    return NULL;
}

int main(void)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 1};
    struct program program = {.error = 0};

    if (pipe(program.ends) != 0) {
        perror("pipe");
        return 1;
    }
    int error = weft_run(&options, start, &program, NULL);
    if (error == 0)
        error = program.error;
    if (error != 0)
        fprintf(stderr, "blocking: %s\n", strerror(-error));
    return error != 0;
}
