/* SPDX-License-Identifier: MIT */
#ifndef LAB_API_FAULT_API_H
#define LAB_API_FAULT_API_H

#include "labyrinth_fault.h"

/** lab_fault_options() - from the constructor: what the options ask for */
void lab_fault_options(void);

#endif /* LAB_API_FAULT_API_H */
