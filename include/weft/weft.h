// weft.h -- All of weft's public headers.
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <weft/barrier.h>
#include <weft/base.h>
#include <weft/blocking.h>
#include <weft/broadcast.h>
#include <weft/channel.h>
#include <weft/cond.h>
#include <weft/dump.h>
#include <weft/event.h>
#include <weft/findings.h>
#include <weft/interval.h>
#include <weft/local.h>
#include <weft/metrics.h>
#include <weft/mutex.h>
#include <weft/net.h>
#include <weft/once.h>
#include <weft/runtime.h>
#include <weft/rwlock.h>
#include <weft/scope.h>
#include <weft/select.h>
#include <weft/semaphore.h>
#include <weft/task.h>
#include <weft/time.h>
#include <weft/waitgroup.h>
#include <weft/watch.h>

#endif
