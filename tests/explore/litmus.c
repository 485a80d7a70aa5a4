// litmus.c -- The explorer tested on programs whose outcomes are known.
//
// Each lists exactly the outcomes that the C11 model allows (RC11: no load
// reads what has yet to be stored), which all must occur and no others. A digit
// is what one load has read.
#include "explore/explore.h"

static atomic_u32 x;
static atomic_u32 y;
static uint32_t r[4];

static void reset(void)
{
    store_relaxed(&x, 0);
    store_relaxed(&y, 0);
    for (int i = 0; i < 4; i++)
        r[i] = 0;
}

static void run_two(void (*a)(void *), void (*b)(void *))
{
    reset();
    explore_start("A", a, NULL);
    explore_start("B", b, NULL);
    explore_join_all();
    explore_outcome(r[0] << 4 | r[1]);
}

static void run_four(void (*a)(void *), void (*b)(void *), void (*c)(void *),
                     void (*d)(void *))
{
    reset();
    explore_start("A", a, NULL);
    explore_start("B", b, NULL);
    explore_start("C", c, NULL);
    explore_start("D", d, NULL);
    explore_join_all();
    explore_outcome(r[0] << 12 | r[1] << 8 | r[2] << 4 | r[3]);
}

// A thread, and a scenario of two or four of them.
#define THREAD(name, body)                                                     \
    static void name(void *arg)                                                \
    {                                                                          \
        (void)arg;                                                             \
        body                                                                   \
    }
#define TWO(name, a, b)                                                        \
    static void name(void)                                                     \
    {                                                                          \
        run_two(a, b);                                                         \
    }
#define FOUR(name, a, b, c, d)                                                 \
    static void name(void)                                                     \
    {                                                                          \
        run_four(a, b, c, d);                                                  \
    }

// ---- SB: each stores, then loads the other's. ----

#define SB(order, store, load)                                                 \
    THREAD(sb_a_##order, store(&x, 1); r[0] = load(&y);)                       \
    THREAD(sb_b_##order, store(&y, 1); r[1] = load(&x);)                       \
    TWO(sb_##order, sb_a_##order, sb_b_##order)

SB(relaxed, store_relaxed, load_relaxed)
SB(ordered, store_release, load_acquire)
SB(seq_cst, store_seq_cst, load_seq_cst)
SB(mixed, store_seq_cst, load_acquire)

THREAD(sb_a_change, (void)xchg_acq_rel(&x, 1); r[0] = load_acquire(&y);)
THREAD(sb_b_change, (void)xchg_acq_rel(&y, 1); r[1] = load_acquire(&x);)
TWO(sb_change, sb_a_change, sb_b_change)

// The asymmetric fence between store and load on both sides.
THREAD(sb_light, store_relaxed(&x, 1); port_barrier_light();
       r[0] = load_relaxed(&y);)
THREAD(sb_heavy, store_relaxed(&y, 1); port_barrier_heavy();
       r[1] = load_relaxed(&x);)
TWO(sb_barrier, sb_light, sb_heavy)

// ---- MP: data, then a flag. ----

#define MP(order, store, load)                                                 \
    THREAD(mp_a_##order, store_relaxed(&x, 1); store(&y, 1);)                  \
    THREAD(mp_b_##order, r[0] = load(&y); r[1] = load_relaxed(&x);)            \
    TWO(mp_##order, mp_a_##order, mp_b_##order)

MP(relaxed, store_relaxed, load_relaxed)
MP(release, store_release, load_relaxed)
MP(acquire, store_relaxed, load_acquire)
MP(ordered, store_release, load_acquire)

// A release sequence goes on through a relaxed read-modify-write, but not
// through another thread's store.
THREAD(mp_third_add, (void)add_relaxed(&y, 1);)
THREAD(mp_third_store, store_relaxed(&y, 2);)
THREAD(mp_b_two, r[0] = load_acquire(&y); r[1] = load_relaxed(&x);)
THREAD(nothing, )
FOUR(mp_sequence, mp_a_ordered, mp_third_add, mp_b_two, nothing)
FOUR(mp_broken_sequence, mp_a_ordered, mp_third_store, mp_b_two, nothing)

// ---- LB: each loads, then stores what the other loads. ----

THREAD(lb_a, r[0] = load_relaxed(&x); store_relaxed(&y, 1);)
THREAD(lb_b, r[1] = load_relaxed(&y); store_relaxed(&x, 1);)
TWO(lb, lb_a, lb_b)

// ---- CoRR: two loads of one place never go back. ----

THREAD(corr_a, store_relaxed(&x, 1); store_relaxed(&x, 2);)
THREAD(corr_b, r[0] = load_relaxed(&x); r[1] = load_relaxed(&x);)
TWO(corr, corr_a, corr_b)

// ---- CoWR, and read-modify-writes: none is lost. ----

THREAD(cowr_a, store_relaxed(&x, 1); r[0] = load_relaxed(&x);)
THREAD(cowr_b, store_relaxed(&x, 2); r[1] = load_relaxed(&x);)
TWO(cowr, cowr_a, cowr_b)

THREAD(add_a, r[0] = add_relaxed(&x, 1);)
THREAD(add_b, r[1] = add_relaxed(&x, 1);)
TWO(add, add_a, add_b)

THREAD(cas_a, uint32_t e = 0; r[0] = cas_relaxed(&x, &e, 1);)
THREAD(cas_b, uint32_t e = 0; r[1] = cas_relaxed(&x, &e, 2);)
TWO(cas, cas_a, cas_b)

// ---- IRIW: two readers see two stores in different orders. ----

#define IRIW(order, store, load)                                               \
    THREAD(iriw_a_##order, store(&x, 1);)                                      \
    THREAD(iriw_b_##order, store(&y, 1);)                                      \
    THREAD(iriw_c_##order, r[0] = load(&x); r[1] = load(&y);)                  \
    THREAD(iriw_d_##order, r[2] = load(&y); r[3] = load(&x);)                  \
    FOUR(iriw_##order, iriw_a_##order, iriw_b_##order, iriw_c_##order,         \
         iriw_d_##order)

IRIW(relaxed, store_relaxed, load_relaxed)
IRIW(ordered, store_release, load_acquire)
IRIW(seq_cst, store_seq_cst, load_seq_cst)

// ---- 2+2W: both places end with the first store of each thread. ----

#define WW(order, store)                                                       \
    THREAD(ww_a_##order, store(&x, 1); store(&y, 2);)                          \
    THREAD(ww_b_##order, store(&y, 1); store(&x, 2);)                          \
    static void ww_##order(void)                                               \
    {                                                                          \
        reset();                                                               \
        explore_start("A", ww_a_##order, NULL);                                \
        explore_start("B", ww_b_##order, NULL);                                \
        explore_join_all();                                                    \
        explore_outcome(load_relaxed(&x) << 4 | load_relaxed(&y));             \
    }

WW(relaxed, store_relaxed)
WW(ordered, store_release)
WW(seq_cst, store_seq_cst)

// ---- WRC and ISA2: what is seen is passed on. ----

#define WRC(order, store, load)                                                \
    THREAD(wrc_a_##order, store(&x, 1);)                                       \
    THREAD(wrc_b_##order, r[0] = load(&x); store(&y, 1);)                      \
    THREAD(wrc_c_##order, r[1] = load(&y); r[2] = load_relaxed(&x);)           \
    FOUR(wrc_##order, wrc_a_##order, wrc_b_##order, wrc_c_##order, nothing)

WRC(relaxed, store_relaxed, load_relaxed)
WRC(ordered, store_release, load_acquire)

// ---- A seq_cst load after a weaker one: perhaps before what that read. ----

#define AFTER(order, load)                                                     \
    THREAD(after_b_##order, r[0] = load(&x); r[1] = load_seq_cst(&y);)         \
    FOUR(after_##order, iriw_a_seq_cst, after_b_##order, after_c, nothing)

THREAD(after_c, store_seq_cst(&y, 1); r[2] = load_seq_cst(&x);)
AFTER(relaxed, load_relaxed)
AFTER(acquire, load_acquire)

#define ALL                                                                    \
    {                                                                          \
        8, 8                                                                   \
    }
#define LITMUS(name, fn, outcomes)                                             \
    {                                                                          \
        name, "litmus", fn, ALL, ALL, NULL, outcomes                           \
    }

const struct scenario litmus_scenarios[] = {
    LITMUS("sb-relaxed", sb_relaxed, "0 1 10 11"),
    LITMUS("sb-release-acquire", sb_ordered, "0 1 10 11"),
    LITMUS("sb-seq-cst", sb_seq_cst, "1 10 11"),
    LITMUS("sb-seq-cst-stores-alone", sb_mixed, "0 1 10 11"),
    LITMUS("sb-exchange", sb_change, "0 1 10 11"),
    LITMUS("sb-asymmetric-barrier", sb_barrier, "1 10 11"),
    LITMUS("mp-relaxed", mp_relaxed, "0 1 10 11"),
    LITMUS("mp-release-alone", mp_release, "0 1 10 11"),
    LITMUS("mp-acquire-alone", mp_acquire, "0 1 10 11"),
    LITMUS("mp-release-acquire", mp_ordered, "0 1 11"),
    LITMUS("mp-release-sequence", mp_sequence, "0 100 1000 1100 2100"),
    LITMUS("mp-broken-sequence", mp_broken_sequence, "0 100 1100 2000 2100"),
    LITMUS("lb", lb, "0 1 10"),
    LITMUS("corr", corr, "0 1 2 11 12 22"),
    LITMUS("cowr", cowr, "11 12 22"),
    LITMUS("add", add, "1 10"),
    LITMUS("cas", cas, "1 10"),
    LITMUS("iriw-relaxed", iriw_relaxed,
           "0 1 10 11 100 101 110 111 1000 1001 1010 1011 1100 1101 1110 "
           "1111"),
    LITMUS("iriw-release-acquire", iriw_ordered,
           "0 1 10 11 100 101 110 111 1000 1001 1010 1011 1100 1101 1110 "
           "1111"),
    LITMUS("iriw-seq-cst", iriw_seq_cst,
           "0 1 10 11 100 101 110 111 1000 1001 1011 1100 1101 1110 1111"),
    LITMUS("2+2w-relaxed", ww_relaxed, "11 12 21 22"),
    LITMUS("2+2w-release", ww_ordered, "11 12 21 22"),
    LITMUS("2+2w-seq-cst", ww_seq_cst, "12 21 22"),
    LITMUS("wrc-relaxed", wrc_relaxed, "0 10 100 110 1000 1010 1100 1110"),
    LITMUS("wrc-release-acquire", wrc_ordered, "0 10 100 110 1000 1010 1110"),
    LITMUS("seq-cst-after-relaxed", after_relaxed,
           "0 10 100 110 1000 1010 1100 1110"),
    LITMUS("seq-cst-after-acquire", after_acquire,
           "0 10 100 110 1010 1100 1110"),
    {0},
};
