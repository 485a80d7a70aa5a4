// skip.h -- How a cmocka case leaves itself out, and says why.
//
// cmocka's own skip() says nothing; ./dev test shows the reason of each skip,
// which it takes from the line that is printed here.
#ifndef WEFT_TESTS_SKIP_H
#define WEFT_TESTS_SKIP_H

#define skip_because(reason)                                                   \
    do {                                                                       \
        print_message("skip: %s\n", reason);                                   \
        skip();                                                                \
    } while (0)

#endif
