/* SPDX-License-Identifier: MIT */
#include "page/event.h"

lab_word_t lab_events[LAB_NR_EVENTS];
