// locked.c -- Nothing but a lock.
