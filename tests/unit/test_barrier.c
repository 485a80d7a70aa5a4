// test_barrier.c -- The barriers of a dump: one leads, all come back.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dump/barrier.h"

static const int64_t FAR = INT64_MAX;

static void begin(struct barrier *barrier, int64_t deadline_ns)
{
    lock_acquire(&barrier->lock);
    barrier_begin(barrier, deadline_ns);
    lock_release(&barrier->lock);
}

static void end(struct barrier *barrier)
{
    lock_acquire(&barrier->lock);
    barrier_end(barrier);
    lock_release(&barrier->lock);
    barrier_wake(barrier);
}

static bool lead_outside(struct barrier *barrier)
{
    lock_acquire(&barrier->lock);
    bool leads = barrier_lead_outside(barrier);
    lock_release(&barrier->lock);
    return leads;
}

static void count_away(struct barrier *barrier, uint32_t who)
{
    lock_acquire(&barrier->lock);
    barrier_count_away(barrier, who);
    lock_release(&barrier->lock);
}

static void until_place(struct barrier *barrier, uint32_t who, uint8_t place)
{
    while (barrier_place(barrier, who) != place)
        (void)sched_yield();
}

// ---- One who comes, in a thread of his own. ----

struct guest {
    struct barrier *barrier;
    uint32_t who;
    pthread_t thread;
    enum pass pass;
    atomic_u32 back;
};

static void *come(void *arg)
{
    struct guest *guest = arg;

    guest->pass = barrier_meet(guest->barrier, guest->who);
    store_release(&guest->back, 1);
    return NULL;
}

static void send(struct guest *guest, struct barrier *barrier, uint32_t who)
{
    *guest = (struct guest){.barrier = barrier, .who = who};
    assert_int_equal(pthread_create(&guest->thread, NULL, come, guest), 0);
}

static enum pass fetch(struct guest *guest)
{
    assert_int_equal(pthread_join(guest->thread, NULL), 0);
    return guest->pass;
}

static bool is_back(struct guest *guest)
{
    return load_acquire(&guest->back) != 0;
}

// ---- Step by step. ----

static void test_without_a_meeting(void **state)
{
    (void)state;
    struct barrier barrier;

    assert_int_equal(barrier_init(&barrier, 2), 0);
    assert_int_equal(barrier_meet(&barrier, 0), PASS_NONE);
    assert_false(lead_outside(&barrier));
    begin(&barrier, 0);
    assert_true(lead_outside(&barrier));
    end(&barrier);
    assert_int_equal(barrier_meet(&barrier, 1), PASS_NONE);
    barrier_deinit(&barrier);
}

static void test_the_last_to_come_leads(void **state)
{
    (void)state;
    struct barrier barrier;
    struct guest first;
    struct guest second;

    assert_int_equal(barrier_init(&barrier, 3), 0);
    for (int round = 0; round < 50; round++) {
        begin(&barrier, FAR);
        send(&first, &barrier, 2);
        until_place(&barrier, 2, PLACE_ARRIVED);
        send(&second, &barrier, 0);
        until_place(&barrier, 0, PLACE_ARRIVED);
        assert_false(lead_outside(&barrier));
        assert_int_equal(barrier_meet(&barrier, 1), PASS_LEADER);
        assert_false(lead_outside(&barrier));
        assert_int_equal(barrier_place(&barrier, 0), PLACE_ARRIVED);
        assert_int_equal(barrier_place(&barrier, 1), PLACE_LEADER);
        assert_int_equal(barrier_place(&barrier, 2), PLACE_ARRIVED);
        assert_false(is_back(&first) || is_back(&second));
        end(&barrier);
        assert_int_equal(fetch(&first), PASS_FOLLOWER);
        assert_int_equal(fetch(&second), PASS_FOLLOWER);
    }
    barrier_deinit(&barrier);
}

// Who is away need not come, and may.
static void test_some_are_away(void **state)
{
    (void)state;
    struct barrier barrier;
    struct guest guest;

    assert_int_equal(barrier_init(&barrier, 3), 0);
    begin(&barrier, FAR);
    count_away(&barrier, 0);
    count_away(&barrier, 1);
    assert_int_equal(barrier_meet(&barrier, 2), PASS_LEADER);
    assert_int_equal(barrier_place(&barrier, 0), PLACE_AWAY);
    end(&barrier);

    begin(&barrier, FAR);
    count_away(&barrier, 0);
    count_away(&barrier, 1);
    send(&guest, &barrier, 0); // comes all the same
    until_place(&barrier, 0, PLACE_ARRIVED);
    assert_false(lead_outside(&barrier)); // somebody inside will
    assert_int_equal(barrier_meet(&barrier, 2), PASS_LEADER);
    end(&barrier);
    assert_int_equal(fetch(&guest), PASS_FOLLOWER);
    barrier_deinit(&barrier);
}

static void test_all_are_away(void **state)
{
    (void)state;
    struct barrier barrier;

    assert_int_equal(barrier_init(&barrier, 2), 0);
    begin(&barrier, FAR);
    assert_false(lead_outside(&barrier));
    count_away(&barrier, 1);
    assert_false(lead_outside(&barrier));
    count_away(&barrier, 0);
    assert_true(lead_outside(&barrier));
    assert_false(lead_outside(&barrier)); // once
    assert_int_equal(barrier_place(&barrier, 0), PLACE_AWAY);
    end(&barrier);
    barrier_deinit(&barrier);
}

// ---- Time-outs. ----

static void test_a_time_out_leads_alone(void **state)
{
    (void)state;
    struct barrier barrier;

    assert_int_equal(barrier_init(&barrier, 3), 0);
    for (int round = 0; round < 20; round++) { // arrivals must not add up
        begin(&barrier, port_now() + round % 2 * 100000);
        assert_int_equal(barrier_meet(&barrier, 1), PASS_LEADER);
        assert_int_equal(barrier.arrived, 0); // it was taken back
        assert_int_equal(barrier_place(&barrier, 0), PLACE_MISSING);
        assert_int_equal(barrier_place(&barrier, 1), PLACE_LEADER);
        assert_int_equal(barrier_place(&barrier, 2), PLACE_MISSING);
        end(&barrier);
    }
    barrier_deinit(&barrier);
}

static void test_nobody_comes(void **state)
{
    (void)state;
    struct barrier barrier;

    assert_int_equal(barrier_init(&barrier, 2), 0);
    begin(&barrier, FAR);
    count_away(&barrier, 0);
    assert_false(lead_outside(&barrier));
    barrier.deadline_ns = 0;
    assert_true(lead_outside(&barrier));
    assert_int_equal(barrier_place(&barrier, 0), PLACE_AWAY);
    assert_int_equal(barrier_place(&barrier, 1), PLACE_MISSING);
    end(&barrier);
    barrier_deinit(&barrier);
}

// Whoever comes while another leads waits for him, and is not counted.
static void test_a_late_comer(void **state)
{
    (void)state;
    struct barrier barrier;
    struct guest late;

    assert_int_equal(barrier_init(&barrier, 2), 0);
    for (int round = 0; round < 50; round++) {
        begin(&barrier, 0);
        assert_int_equal(barrier_meet(&barrier, 0), PASS_LEADER);
        send(&late, &barrier, 1);
        for (int i = 0; i < 1000; i++)
            assert_false(is_back(&late)); // can only fail if it is wrong
        enum place place = barrier_place(&barrier, 1); // it may be here now
        assert_true(place == PLACE_MISSING || place == PLACE_LATE);
        assert_int_equal(barrier.arrived, 0);
        end(&barrier);
        enum pass pass = fetch(&late); // or it came when all was over
        assert_true(pass == PASS_FOLLOWER || pass == PASS_NONE);
    }
    barrier_deinit(&barrier);
}

// The next meeting begins before a follower of the last one has woken: he does
// not take it for his own.
static void test_a_generation_moved(void **state)
{
    (void)state;
    struct barrier barrier;
    struct guest guest;

    assert_int_equal(barrier_init(&barrier, 2), 0);
    for (int round = 0; round < 200; round++) {
        begin(&barrier, FAR);
        send(&guest, &barrier, 0);
        until_place(&barrier, 0, PLACE_ARRIVED);
        assert_int_equal(barrier_meet(&barrier, 1), PASS_LEADER);
        lock_acquire(&barrier.lock); // end and begin in one
        barrier_end(&barrier);
        barrier_begin(&barrier, FAR);
        lock_release(&barrier.lock);
        barrier_wake(&barrier);
        assert_int_equal(fetch(&guest), PASS_FOLLOWER);
        assert_int_equal(barrier_place(&barrier, 0), PLACE_AWAITED);
        count_away(&barrier, 0);
        count_away(&barrier, 1);
        assert_true(lead_outside(&barrier));
        end(&barrier);
    }
    barrier_deinit(&barrier);
}

// ---- Many meetings, with deadlines that pass at any moment. ----

enum {
    GUESTS = 4,
    MEETINGS = 1000,
};

struct hall {
    struct barrier barrier;
    atomic_u32 done;
    atomic_u32 leading; // at most one
    atomic_u32 led;     // meetings that were led
    atomic_u32 inside[GUESTS];
    int secret; // plain: the leader's while he leads, everybody's after
};

struct regular {
    struct hall *hall;
    uint32_t who;
};

// Who has arrived does not move while somebody leads.
static void lead(struct hall *hall)
{
    uint8_t places[GUESTS];

    if (add_acq_rel(&hall->leading, 1) != 0)
        abort();
    lock_acquire(&hall->barrier.lock);
    memcpy(places, hall->barrier.places, sizeof places);
    lock_release(&hall->barrier.lock);
    for (int i = 0; i < GUESTS; i++)
        if (places[i] == PLACE_ARRIVED && load_acquire(&hall->inside[i]) == 0)
            abort();
    hall->secret++;
    (void)add_relaxed(&hall->led, 1);
    (void)sub_acq_rel(&hall->leading, 1);
    end(&hall->barrier);
}

static void *come_often(void *arg)
{
    struct regular *regular = arg;
    struct hall *hall = regular->hall;
    uint32_t times = 0;

    while (load_acquire(&hall->done) == 0) {
        store_release(&hall->inside[regular->who], 1);
        enum pass pass = barrier_meet(&hall->barrier, regular->who);
        if (pass == PASS_LEADER)
            lead(hall);
        store_release(&hall->inside[regular->who], 0);
        for (uint32_t i = times++ * (regular->who + 3) % 4000; i > 0; i--)
            port_pause();
    }
    return NULL;
}

static void hold_meetings(struct hall *hall)
{
    for (uint32_t i = 0; i < MEETINGS; i++) {
        begin(&hall->barrier, port_now() + i % 7 * 20000);
        if (i % 3 == 0)
            count_away(&hall->barrier, i % GUESTS);
        while (load_relaxed(&hall->led) == i)
            if (lead_outside(&hall->barrier))
                lead(hall);
        lock_acquire(&hall->barrier.lock);
        while (hall->barrier.active) { // led, but not yet ended
            lock_release(&hall->barrier.lock);
            (void)sched_yield();
            lock_acquire(&hall->barrier.lock);
        }
        lock_release(&hall->barrier.lock);
        assert_int_equal(load_relaxed(&hall->led), i + 1);
    }
}

static void test_one_leads_each_meeting(void **state)
{
    (void)state;
    static struct hall hall;
    struct regular regulars[GUESTS];
    pthread_t threads[GUESTS];

    assert_int_equal(barrier_init(&hall.barrier, GUESTS), 0);
    for (uint32_t i = 0; i < GUESTS; i++) {
        regulars[i] = (struct regular){&hall, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, come_often, &regulars[i]), 0);
    }
    hold_meetings(&hall);
    store_release(&hall.done, 1);
    for (uint32_t i = 0; i < GUESTS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(hall.secret, MEETINGS);
    barrier_deinit(&hall.barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_meeting),
        cmocka_unit_test(test_the_last_to_come_leads),
        cmocka_unit_test(test_some_are_away),
        cmocka_unit_test(test_all_are_away),
        cmocka_unit_test(test_a_time_out_leads_alone),
        cmocka_unit_test(test_nobody_comes),
        cmocka_unit_test(test_a_late_comer),
        cmocka_unit_test(test_a_generation_moved),
        cmocka_unit_test(test_one_leads_each_meeting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
