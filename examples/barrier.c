// barrier.c -- A barrier: heat spreads along a rod, computed in steps by tasks
// that each own a piece; nobody begins a step before all have done the last.
//
// Prints: after 4000 steps: 0 13 25 38 50 63 75 88 100
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { PIECES = 4, CELLS = 8, STEPS = 4000 };

struct rod {
    weft_barrier step;
    double now[CELLS + 1]; // the ends are kept at 0 and 100 degrees
    double next[CELLS + 1];
};

struct piece {
    struct rod *rod;
    int first;
};

static void *compute(void *arg)
{
    struct piece *piece = arg;
    struct rod *rod = piece->rod;
    int end = piece->first + CELLS / PIECES;

    for (int step = 0; step < STEPS; step++) {
        for (int i = piece->first; i < end; i++)
            if (i > 0)
                rod->next[i] = (rod->now[i - 1] + rod->now[i + 1]) / 2;
        if (weft_barrier_wait(&rod->step, WEFT_NEVER) < 0)
            return NULL; // cancelled
        for (int i = piece->first; i < end; i++)
            rod->now[i] = rod->next[i];
        if (weft_barrier_wait(&rod->step, WEFT_NEVER) < 0)
            return NULL;
    }
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct rod rod = {.step = WEFT_BARRIER_INIT("step", PIECES)};
    struct piece pieces[PIECES];
    weft_scope scope;

    rod.now[CELLS] = 100;
    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < PIECES && *error == 0; i++) {
        pieces[i] = (struct piece){&rod, i * CELLS / PIECES};
        *error = weft_scope_spawn(&scope, NULL, compute, &pieces[i], NULL);
    }
    if (*error < 0)
        weft_scope_cancel(&scope); // the others would wait for ever
    weft_scope_leave(&scope);
    printf("after %d steps:", STEPS);
    for (int i = 0; i <= CELLS; i++)
        printf(" %.0f", rod.now[i] + 0.001);
    printf("\n");
    weft_barrier_deinit(&rod.step);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "barrier: %s\n", strerror(-error));
    return error < 0;
}
