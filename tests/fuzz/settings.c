// settings.c -- Fuzzes what the environment says of findings and the watch.
//
// Input: a byte that says what the program has set itself, those settings (8
// bytes each), then WEFT_FINDINGS and WEFT_WATCH, each ended by zero. What is
// no setting is told on standard error.
#include "report/settings.h"

#include "dump/rules.h"
#include "support/fuzz.h"

enum { ENV_MAX = 4096 };

// Through memory of our own: setenv never gives back what it takes.
static void set_variable(char kept[ENV_MAX], const char *name, const char *text)
{
    snprintf(kept, ENV_MAX, "%s=%s", name, text);
    must(putenv(kept) == 0);
}

static void check_find(const weft_finding_options *given, int64_t no_yield_ns)
{
    weft_finding_options limits;
    int64_t before = no_yield_ns;
    bool good = settings_find(given, &limits, &no_yield_ns);

    must(good == (given == NULL || rules_check(given)));
    if (!good)
        return;
    must(rules_check(&limits) && limits.asleep_ns > 0 && limits.stall_ns > 0 &&
         limits.stall_waiters > 0 && limits.lost_peer_ns > 0 &&
         limits.ready_ns > 0 && limits.stack_percent > 0 &&
         limits.growth_tasks > 0 && limits.growth_percent > 0);
    must(no_yield_ns >= 0 && (before == 0 || no_yield_ns == before));
    if (given != NULL && given->stall_ns > 0)
        must(limits.stall_ns == given->stall_ns);
}

static void check_watch(const weft_watch_options *given)
{
    weft_watch_options watch;
    bool on;

    if (!settings_watch(given, &watch, &on)) {
        must(given != NULL);
        return;
    }
    must(watch.every_ns > 0 && watch.look_ns > 0 && watch.period_ns >= 0 &&
         (unsigned)watch.severity <= WEFT_SEVERITY_INFO);
    must(on || given == NULL);
    if (given != NULL)
        must(watch.severity == given->severity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char kept[2][ENV_MAX];
    struct input in = {data, size};
    weft_finding_options find = {.size = sizeof find};
    weft_watch_options watch = {.size = sizeof watch};

    unsigned given = (unsigned)input_number(&in, 1);
    if (given & 1) {
        find.stall_ns = (int64_t)input_number(&in, 8);
        find.stack_percent = (uint32_t)input_number(&in, 8);
        find.rules_off = (uint32_t)input_number(&in, 8);
    }
    if (given & 2) {
        watch.every_ns = (int64_t)input_number(&in, 8);
        watch.severity = (enum weft_severity)(input_number(&in, 1) % 4);
    }
    int64_t no_yield_ns = given & 4 ? 5 : 0;
    char *findings = input_text(&in), *watching = input_text(&in);
    set_variable(kept[0], "WEFT_FINDINGS", findings);
    set_variable(kept[1], "WEFT_WATCH", watching);
    check_find(given & 1 ? &find : NULL, no_yield_ns);
    check_watch(given & 2 ? &watch : NULL);
    free(findings);
    free(watching);
    return 0;
}
