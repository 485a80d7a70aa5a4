// test_map.c -- The table from keys to numbers, and arrays that grow.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/grow.h"
#include "base/map.h"

static void expect_entry(const struct map *map, uint64_t key, uint32_t value)
{
    const uint32_t *found = map_find(map, key);

    assert_non_null(found);
    assert_int_equal(*found, value);
}

static void test_an_empty_map(void **state)
{
    (void)state;
    struct map map = {0};

    assert_null(map_find(&map, 1));
    assert_null(map_find(&map, UINT64_MAX));
    map_deinit(&map);
    assert_null(map_find(&map, 1));
}

// Keys as they come: small ones, addresses, ones that differ in few bits.
static uint64_t key_of(uint32_t i)
{
    switch (i % 4) {
    case 0:
        return i + 1;
    case 1:
        return UINT64_MAX - i;
    case 2:
        return (uint64_t)i << 40 | 4;
    default:
        return UINT64_C(0x7f0000000000) + (uint64_t)i * 65536;
    }
}

static void test_many_entries(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct map map = {0};

    for (uint32_t i = 0; i < COUNT; i++) {
        assert_null(map_find(&map, key_of(i)));
        assert_true(map_add(&map, key_of(i), i));
        expect_entry(&map, key_of(i), i);
        assert_true(2 * map.count <= map.room);
    }
    assert_int_equal(map.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        expect_entry(&map, key_of(i), i);
    for (uint32_t i = COUNT; i < 2 * COUNT; i++)
        assert_null(map_find(&map, key_of(i)));
    map_deinit(&map);
    assert_int_equal(map.count, 0);
    assert_true(map_add(&map, 7, 8)); // and can be used again
    expect_entry(&map, 7, 8);
    map_deinit(&map);
}

static void test_growing(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t room = 0;

    for (uint32_t i = 0; i < 10000; i++) {
        assert_true(grow(&items, &room, i + 1, sizeof *items));
        assert_true(room > i);
        items[i] = i;
    }
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(items[i], i);
    uint32_t *before = items;
    size_t room_before = room;
    assert_true(grow(&items, &room, 5, sizeof *items)); // enough already
    assert_ptr_equal(items, before);
    assert_int_equal(room, room_before);
    free(items);
}

static void test_growing_beyond_all_bounds(void **state)
{
    (void)state;
    char *items = malloc(1);
    char *before = items;
    size_t room = 1;

    assert_false(grow(&items, &room, SIZE_MAX / 2, 16));
    assert_false(grow(&items, &room, SIZE_MAX / 16 + 1, 16));
    assert_ptr_equal(items, before);
    assert_int_equal(room, 1);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_map),
        cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_growing_beyond_all_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
