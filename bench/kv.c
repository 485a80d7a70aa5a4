// kv.c -- kv-server: a real server under a real client.
//
//   kv-server  requests per second that redis-benchmark reports against
//              examples/kv-server over loopback: `connections` at once, each
//              with `pipeline` requests under way, keys drawn from 100,000,
//              values of 3 bytes. The keys are written before, which is the
//              warm-up. The client runs on the same CPUs, and takes more of
//              them than the server does.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "groups.h"

enum { CONNECTIONS = 200, KEYS = 100000 };

static char server_path[4096];

// The server lies in the same build tree as this program.
static bool find_server(void)
{
    char program[4000];

    if (!bench_program(program, sizeof(program)))
        return false;
    snprintf(server_path, sizeof(server_path), "%s/../examples/kv-server",
             dirname(program));
    return access(server_path, X_OK) == 0;
}

static bool find_client(void)
{
    return system("command -v redis-benchmark >/dev/null 2>&1") == 0;
}

// Starts the server on a free port, which it prints.
static unsigned start_server(unsigned workers)
{
    char line[256], count[16];
    int ends[2];

    snprintf(count, sizeof(count), "%u", workers);
    if (pipe(ends) != 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0)
        bench_fail("pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        execl(server_path, server_path, "--port", "0", "--workers", count,
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    if (child < 0 || out == NULL || fgets(line, sizeof(line), out) == NULL ||
        strrchr(line, ':') == NULL)
        bench_fail("%s did not say where it listens", server_path);
    return (unsigned)strtoul(strrchr(line, ':') + 1, NULL, 10);
}

// Runs redis-benchmark once; its requests per second.
static double load(unsigned port, const char *command, unsigned requests,
                   unsigned pipeline)
{
    char line[512], shell[256];
    double rate = 0;

    snprintf(shell, sizeof(shell),
             "exec redis-benchmark -h 127.0.0.1 -p %u -c %d -r %d -n %u -P %u "
             "-t %s --csv 2>/dev/null",
             port, CONNECTIONS, KEYS, requests, pipeline, command);
    FILE *out = popen(shell, "r");
    while (out != NULL && fgets(line, sizeof(line), out) != NULL) {
        // "GET","123456.79",...: the head of the table is no number.
        const char *second = strstr(line, "\",\"");
        double value = second == NULL ? 0 : strtod(second + 3, NULL);
        rate = value > 0 ? value : rate;
    }
    if (out == NULL || pclose(out) != 0 || rate <= 0)
        bench_fail("failed: %s", shell);
    return rate;
}

static void run_kv_server(const struct point *point, double *ret_values)
{
    unsigned pipeline = (unsigned)point_number(point, "pipeline");
    unsigned port = start_server((unsigned)point_number(point, "workers"));

    load(port, "set", 2 * KEYS, 16);
    ret_values[0] = load(port, point_text(point, "command"),
                         pipeline == 1 ? 200000 : 2000000, pipeline);
}

void bench_kv_server(const struct settings *settings)
{
    static const char *const commands[] = {"get", "set"};
    static const int pipelines[] = {1, 16};
    struct point point = {
        .names = {"kv-server"},
        .unit = "req/s",
        .params = {{"command", 0, NULL},
                   {"connections", CONNECTIONS, NULL},
                   {"pipeline", 0, NULL},
                   {"workers", settings->workers, NULL}},
        .runs = 3,
        .run = run_kv_server,
    };

    if (!find_server())
        return bench_skip("kv-server", NULL, "examples/kv-server is not built");
    if (!find_client())
        return bench_skip("kv-server", NULL,
                          "there is no redis-benchmark (Debian: redis-tools)");
    for (unsigned i = 0; i < 4; i++) {
        point.params[0].text = commands[i % 2];
        point.params[2].number = pipelines[i / 2];
        bench_measure(settings, &point);
    }
}
