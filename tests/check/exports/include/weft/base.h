// base.h -- Declares what the library has, and what it has not.
#define WEFT_API

// It has this.
WEFT_API int weft_here(void);

// It has not this.
WEFT_API const char *weft_missing(void);
