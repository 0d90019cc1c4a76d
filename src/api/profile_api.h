/* SPDX-License-Identifier: MIT */
#ifndef LAB_API_PROFILE_API_H
#define LAB_API_PROFILE_API_H

#include "labyrinth_profile.h"

/** lab_profile_options() - from the constructor: what the options ask for */
void lab_profile_options(void);

/** lab_profile_exit() - from the destructor: dumps and the leak report, if asked for */
void lab_profile_exit(void);

#endif /* LAB_API_PROFILE_API_H */
