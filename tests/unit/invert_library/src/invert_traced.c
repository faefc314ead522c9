#define NANOU_TRACED
#include "invert.c"
