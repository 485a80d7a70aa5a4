// test_dump_room.c -- Programs whose tasks have far more to tell than is usual:
// the first room does not suffice, and the dump is taken again with more.
#include <errno.h>

#include "support/dumps.h"

enum { TASKS = 2000, LABELS = WEFT_LABELS_MAX, LOCKS = 24 };

struct holder {
    weft_channel *door;
    weft_mutex locks[LOCKS];
};

static struct holder holders[TASKS];

static void fill_value(char value[WEFT_NAME_MAX], int label)
{
    memset(value, 'a' + label, WEFT_NAME_MAX - 1);
    value[WEFT_NAME_MAX - 1] = '\0';
}

static void *hold_all(void *arg)
{
    struct holder *holder = arg;
    int item;

    for (int i = 0; i < LOCKS; i++)
        expect_is(weft_mutex_lock(&holder->locks[i], WEFT_NEVER), 0);
    int error = weft_channel_recv(holder->door, &item, WEFT_NEVER);
    for (int i = 0; i < LOCKS; i++)
        expect_is(weft_mutex_unlock(&holder->locks[i]), 0);
    return (void *)(intptr_t)error;
}

// Its children inherit the labels.
static void *start_all(void *arg)
{
    weft_task *tasks = arg;
    char value[WEFT_NAME_MAX];
    char key[WEFT_NAME_MAX];

    for (int i = 0; i < LABELS; i++) {
        snprintf(key, sizeof key, "key %d", i);
        fill_value(value, i);
        expect_is(weft_task_set_label(key, value), 0);
    }
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(NULL, "holder", hold_all, &holders[i]);
    return NULL;
}

static void check_labels(const weft_dump *dump, size_t index)
{
    bool seen[LABELS] = {false};
    char wanted[WEFT_NAME_MAX];
    const char *key;
    const char *value;

    expect_is(task_at(dump, index).labels, LABELS);
    for (int i = 0; i < LABELS; i++) {
        expect_is(weft_dump_get_label(dump, index, (size_t)i, &key, &value), 0);
        int label = atoi(key + strlen("key "));
        expect(label >= 0 && label < LABELS && !seen[label]);
        seen[label] = true;
        fill_value(wanted, label);
        expect_text(value, wanted);
    }
}

static void test_all_of_it(void **state)
{
    static weft_task tasks[TASKS];
    weft_channel *door;
    weft_runtime *runtime = start(2);

    (void)state;
    expect_is(weft_channel_new(sizeof(int), 1, "door", &door), 0);
    for (int i = 0; i < TASKS; i++) {
        holders[i].door = door;
        for (int j = 0; j < LOCKS; j++)
            expect_is(weft_mutex_init(&holders[i].locks[j], "lock"), 0);
    }
    (void)join(spawn(runtime, NULL, start_all, tasks));
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, TASKS);
    expect(info_of(dump).complete);
    expect_is(info_of(dump).objects, TASKS * LOCKS + 1);
    for (size_t i = 0; i < TASKS; i++) {
        expect_is(task_at(dump, i).holds, LOCKS);
        check_labels(dump, i);
    }
    weft_dump_free(dump);
    expect_is(weft_channel_close(door), 0);
    for (int i = 0; i < TASKS; i++)
        expect_is(join(tasks[i]), -EPIPE);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(door), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
