// main.c -- The explorer as a program: `explore --help`.
//
// Each scenario runs in a process of its own, so that one that crashes takes
// none with it; what it has come to, its choices included, lies in memory
// shared with it. A failed execution is run once more to print its trace.
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "explore/engine.h"

static const struct scenario *const files[] = {
    litmus_scenarios,  self_scenarios,    queue_scenarios,   lock_scenarios,
    park_scenarios,    waiter_scenarios,  sync_scenarios,    barrier_scenarios,
    runtime_scenarios, capture_scenarios, meeting_scenarios, shutdown_scenarios,
    scope_scenarios,   select_scenarios,
};

struct options {
    bool quick;
    bool list;
    bool quiet; // no traces
    uint64_t limit;
    const char *replay;
    int preemptions; // -1: the scenario's own
    int stale;
};

static const char usage[] =
    "usage: explore [OPTION...] [SCENARIO...]\n"
    "  --list             names and protocols\n"
    "  --quick            the smaller bounds\n"
    "  --preemptions N    other bounds\n"
    "  --stale N\n"
    "  --limit N          at most so many executions\n"
    "  --quiet            no trace of a failure\n"
    "  --replay CHOICES   run one execution and print it\n";

static struct result *result;

// ---- Choices as text: 12s1,40r2 ----

static void print_choices(const struct result *found)
{
    const char *comma = "";

    for (uint32_t i = 0; i < found->length; i++) {
        const struct choice *choice = &found->path[i];
        if (choice->taken == 0)
            continue;
        printf("%s%u%c%u", comma, choice->step, (char)choice->kind,
               choice->taken);
        comma = ",";
    }
    printf("%s", *comma == '\0' ? "0s0" : "");
}

static uint32_t read_choices(const char *text, struct choice *ret_choices)
{
    uint32_t count = 0;
    unsigned step;
    unsigned taken;
    char kind;
    int length;

    while (count < CHOICES_MAX &&
           sscanf(text, "%u%c%u%n", &step, &kind, &taken, &length) == 3) {
        ret_choices[count++] = (struct choice){
            .step = step, .kind = (uint16_t)kind, .taken = (uint16_t)taken};
        text += length;
        text += *text == ',';
    }
    return count;
}

// ---- One scenario ----

static struct bounds bounds_of(const struct scenario *scenario,
                               const struct options *options)
{
    struct bounds bounds = options->quick ? scenario->quick : scenario->full;

    if (options->preemptions >= 0)
        bounds.preemptions = (uint8_t)options->preemptions;
    if (options->stale >= 0)
        bounds.stale = (uint8_t)options->stale;
    return bounds;
}

// In a process of its own. True: it came to its end.
static bool explore_apart(const struct scenario *scenario, struct bounds bounds,
                          uint64_t limit, const struct choice *replay,
                          uint32_t length)
{
    int status = 0;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // it outlives nobody
        engine_explore(scenario, bounds, limit, result, replay, length);
        fflush(stdout);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void print_failure(const struct scenario *scenario, struct bounds bounds)
{
    static struct choice choices[CHOICES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < result->length; i++)
        if (result->path[i].taken != 0)
            choices[count++] = result->path[i];
    printf("%s fails: %s\nreplay: explore --replay ", scenario->name,
           result->what);
    print_choices(result);
    printf(" %s\n", scenario->name);
    memset(result, 0, sizeof *result);
    (void)explore_apart(scenario, bounds, 1, choices, count);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

// Whether the outcomes told are those that the scenario lists.
static bool judge_outcomes(const struct scenario *scenario)
{
    char text[OUTCOMES_MAX * 9 + 1] = "";
    size_t at = 0;

    if (scenario->outcomes == NULL)
        return true;
    qsort(result->outcomes, result->outcome_count, sizeof result->outcomes[0],
          compare);
    for (uint32_t i = 0; i < result->outcome_count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%x",
                               i == 0 ? "" : " ", result->outcomes[i]);
    if (strcmp(text, scenario->outcomes) == 0)
        return true;
    printf("%s: outcomes \"%s\", but should be \"%s\"\n", scenario->name, text,
           scenario->outcomes);
    return false;
}

static bool judge(const struct scenario *scenario, struct bounds bounds,
                  const struct options *options)
{
    bool failed = result->verdict == VERDICT_FAILED;

    if (scenario->must_fail != NULL) {
        if (failed && strstr(result->what, scenario->must_fail) != NULL)
            return true;
        printf("%s: \"%s\" was not found%s%s\n", scenario->name,
               scenario->must_fail, failed ? ", but " : "",
               failed ? result->what : "");
        return false;
    }
    if (failed && !options->quiet)
        print_failure(scenario, bounds);
    else if (failed)
        printf("%s fails: %s\n", scenario->name, result->what);
    return !failed && judge_outcomes(scenario);
}

static double seconds(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

// Prints a line for scripts: fields after "result", parted by tabs.
static bool run(const struct scenario *scenario, const struct options *options)
{
    struct bounds bounds = bounds_of(scenario, options);
    double began = seconds();

    memset(result, 0, sizeof *result);
    if (!explore_apart(scenario, bounds, options->limit, NULL, 0)) {
        result->verdict = VERDICT_FAILED;
        snprintf(result->what, sizeof result->what, "it crashes");
    }
    uint64_t executions = result->executions;
    bool exhausted =
        result->verdict == VERDICT_EXHAUSTED || scenario->must_fail != NULL;
    double took = seconds() - began;
    uint32_t most = result->most_steps;
    uint32_t restarts = result->restarts;
    bool good = judge(scenario, bounds, options);
    printf("result\t%s\t%s\t%s\t%" PRIu64 "\t%s\t%u\t%u\t%.1f\t%u\t%u\n",
           scenario->name, scenario->protocol, good ? "good" : "FAILED",
           executions, exhausted ? "exhausted" : "stopped", bounds.preemptions,
           bounds.stale, took, most, restarts);
    fflush(stdout);
    return good;
}

static bool replay(const struct scenario *scenario,
                   const struct options *options)
{
    static struct choice choices[CHOICES_MAX];
    uint32_t count = read_choices(options->replay, choices);

    memset(result, 0, sizeof *result);
    bool ended = explore_apart(scenario, bounds_of(scenario, options), 1,
                               choices, count);
    return ended && result->verdict == VERDICT_EXHAUSTED;
}

// ---- All ----

static bool is_wished(const char *name, char **wishes)
{
    if (*wishes == NULL)
        return true;
    for (; *wishes != NULL; wishes++)
        if (strcmp(name, *wishes) == 0)
            return true;
    return false;
}

static bool serve(const struct scenario *scenario,
                  const struct options *options)
{
    if (options->list) {
        printf("%s\t%s\n", scenario->name, scenario->protocol);
        return true;
    }
    return options->replay != NULL ? replay(scenario, options)
                                   : run(scenario, options);
}

static int run_all(const struct options *options, char **wishes)
{
    bool good = true;
    int served = 0;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (const struct scenario *at = files[i]; at->name != NULL; at++)
            if (is_wished(at->name, wishes)) {
                good &= serve(at, options);
                served++;
            }
    if (served == 0)
        fprintf(stderr, "explore: no such scenario\n");
    return served == 0 ? 64 : good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"list", no_argument, NULL, 'l'},
        {"quick", no_argument, NULL, 'q'},
        {"quiet", no_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'n'},
        {"preemptions", required_argument, NULL, 'p'},
        {"stale", required_argument, NULL, 'r'},
        {"replay", required_argument, NULL, 'c'},
        {0},
    };
    struct options options = {.preemptions = -1, .stale = -1};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (option) {
        case 'l':
            options.list = true;
            break;
        case 'q':
            options.quick = true;
            break;
        case 's':
            options.quiet = true;
            break;
        case 'n':
            options.limit = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            options.preemptions = atoi(optarg);
            break;
        case 'r':
            options.stale = atoi(optarg);
            break;
        case 'c':
            options.replay = optarg;
            break;
        default:
            fputs(usage, stderr);
            return 64;
        }
    result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        return 1;
    return run_all(&options, argv + optind);
}
