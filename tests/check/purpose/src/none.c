#include "base/none.h"
