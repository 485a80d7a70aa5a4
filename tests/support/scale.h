// scale.h -- How much of what it could do without end a test does.
#ifndef TESTS_SUPPORT_SCALE_H
#define TESTS_SUPPORT_SCALE_H

#include <stdlib.h>

// `often` times the factor in WEFT_TEST_SCALE ("0.05"), or `otherwise` if there
// is none; once at least.
static inline int scale_times(int often, double otherwise)
{
    const char *scale = getenv("WEFT_TEST_SCALE");
    double times = often * (scale == NULL ? otherwise : atof(scale));

    return times < 1 ? 1 : (int)times;
}

#endif
