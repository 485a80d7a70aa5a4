// interval.c -- Intervals and the wall clock: a station measures again and
// again until a time of day; what it has missed is made up for, or left out.
//
// weft_interval_tick waits for a tick alone; here a select waits for whichever
// comes first, a tick or the end, which follows the wall clock if that is set.
//
// Prints: closed in time, and no measurement was early
//         billed 3 lots at once
//         left out what was missed: yes
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

#define MS WEFT_MILLISECOND

static int measure_until(int64_t closing_wall_ns)
{
    weft_interval beat;
    int64_t due_ns = weft_time_now();
    int early = 0;

    int error = weft_interval_init(&beat, due_ns, 2 * MS, WEFT_INTERVAL_SKIP);
    if (error != 0)
        return error;
    weft_clause clauses[] = {
        weft_clause_interval(&beat),
        weft_clause_wall(closing_wall_ns),
    };
    int chosen;
    while ((chosen = weft_select(clauses, 2, WEFT_NEVER)) == 0) {
        early += weft_time_now() < due_ns;
        due_ns = weft_interval_next(&beat);
    }
    if (chosen == 1 && early == 0 && weft_time_wall_now() >= closing_wall_ns)
        puts("closed in time, and no measurement was early");
    return chosen < 0 ? chosen : 0;
}

// Each lot has to be billed, the last three too, which came at once: the first
// is 25 s old, and one is due every 10 s.
static void bill(void)
{
    int64_t now_ns = weft_time_now();
    weft_interval lots;
    int billed = 0;

    (void)weft_interval_init(&lots, now_ns - 25 * WEFT_SECOND, 10 * WEFT_SECOND,
                             WEFT_INTERVAL_BURST);
    while (weft_interval_next(&lots) <= now_ns &&
           weft_interval_tick(&lots, 0) == 0)
        billed++;
    printf("billed %d lots at once\n", billed);
}

// Who draws a picture needs no old ones: the result says how many are left out.
static void draw(void)
{
    weft_interval frames;

    (void)weft_interval_init(&frames, weft_time_now() - 50 * MS, 10 * MS,
                             WEFT_INTERVAL_DELAY);
    int left_out = weft_interval_tick(&frames, WEFT_NEVER);
    printf("left out what was missed: %s\n", left_out >= 5 ? "yes" : "no");
}

static void *start(void *ret_error)
{
    *(int *)ret_error = measure_until(weft_time_wall_now() + 20 * MS);
    bill();
    draw();
    return NULL;
}

int main(void)
{
    int in_start = 0;
    int error = weft_run(NULL, start, &in_start, NULL);

    if (error == 0)
        error = in_start;
    if (error < 0)
        fprintf(stderr, "interval: %s\n", strerror(-error));
    return error < 0;
}
