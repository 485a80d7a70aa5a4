// settings.h -- What the environment says of findings and of the watch.
#ifndef WEFT_REPORT_SETTINGS_H
#define WEFT_REPORT_SETTINGS_H

#include <weft/findings.h>

// The limits of findings: those of the options (or NULL), then of
// WEFT_FINDINGS, then the defaults; and what WEFT_FINDINGS says of no_yield_ns,
// if that is zero. False: an option is out of its bounds.
bool settings_find(const weft_finding_options *options,
                   weft_finding_options *ret_limits, int64_t *no_yield_ns);

// The same of the watch and WEFT_WATCH. *ret_on says whether there is to be
// one.
bool settings_watch(const weft_watch_options *options,
                    weft_watch_options *ret_watch, bool *ret_on);

#endif
