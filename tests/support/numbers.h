// numbers.h -- Channels of ints, and calls that wait without limit.
#ifndef TESTS_SUPPORT_NUMBERS_H
#define TESTS_SUPPORT_NUMBERS_H

#include "support/tasks.h"

static inline weft_channel *channel_of(size_t capacity)
{
    weft_channel *channel;

    expect_is(weft_channel_new(sizeof(int), capacity, "numbers", &channel), 0);
    return channel;
}

static inline int send_number(weft_channel *channel, int number)
{
    return weft_channel_send(channel, &number, WEFT_NEVER);
}

static inline int recv_number(weft_channel *channel)
{
    int number = -1;

    expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
    return number;
}

#endif
