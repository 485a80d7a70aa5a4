// none.h -- Names another file.
