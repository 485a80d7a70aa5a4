// heartbeat.c -- Intervals, deadlines and the wall clock: a monitor beats every
// 10 ms, reports every 35, and ends at a time of day.
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

#define MS WEFT_MILLISECOND

static void print_time(const char *what, int64_t wall_ns)
{
    time_t second = wall_ns / WEFT_SECOND;
    struct tm day;
    char text[32];

    gmtime_r(&second, &day);
    strftime(text, sizeof text, "%H:%M:%S", &day);
    printf("%s at %s.%03d UTC\n", what, text,
           (int)(wall_ns % WEFT_SECOND / MS));
}

// A beat that comes late is not made up for: who listens wants a live one.
static int beat_and_report(int64_t closing_wall_ns)
{
    weft_interval beat, report;
    int beats = 0, missed = 0;

    weft_interval_init(&beat, weft_time_now(), 10 * MS, WEFT_INTERVAL_SKIP);
    weft_interval_init(&report, weft_time_after(35 * MS), 35 * MS,
                       WEFT_INTERVAL_DELAY);
    weft_clause clauses[] = {
        weft_clause_interval(&beat),
        weft_clause_interval(&report),
        weft_clause_wall(closing_wall_ns),
    };
    for (;;) {
        int chosen = weft_select(clauses, 3, WEFT_NEVER);
        switch (chosen) {
        case 0:
            beats++;
            missed += clauses[0].result;
            break;
        case 1:
            printf("%d beats, %d missed\n", beats, missed);
            break;
        case 2:
            print_time("closed", weft_time_wall_now());
            return 0;
        default:
            return chosen;
        }
    }
}

// An interval alone: one task, one rhythm, until it is cancelled.
static void *tick(void *ret_ticks)
{
    weft_interval clock;

    weft_interval_init(&clock, weft_time_now(), 20 * MS, WEFT_INTERVAL_BURST);
    while (weft_interval_tick(&clock, WEFT_NEVER) >= 0)
        ++*(int *)ret_ticks;
    return NULL;
}

static void *start(void *ret_error)
{
    int64_t closing_wall_ns = weft_time_wall_now() + 120 * MS;
    int *error = ret_error;
    int ticks = 0;
    weft_task clock;

    print_time("open", weft_time_wall_now());
    if ((*error = weft_task_spawn(NULL, tick, &ticks, &clock)) < 0)
        return NULL;
    *error = beat_and_report(closing_wall_ns);
    weft_task_cancel(clock);
    weft_task_join(clock, WEFT_NEVER, NULL);
    printf("the clock has ticked%s\n", ticks > 0 ? "" : " never");
    return NULL;
}

int main(void)
{
    int in_start = 0;
    int error = weft_run(NULL, start, &in_start, NULL);

    if (error == 0)
        error = in_start;
    if (error < 0)
        fprintf(stderr, "heartbeat: %s\n", strerror(-error));
    return error < 0;
}
