/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_IXP_HOST_BOARDS_H
#define FFPF_IXP_HOST_BOARDS_H
/*
 * Which boards run: each has a socket with its name in one folder, the environment's FFPF_IXP_DIR (not looked at in
 * programs with raised privileges) or FFPF_IXP_DIR_DEFAULT.
 */
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

#define FFPF_IXP_DIR_DEFAULT "/run/ffpf/ixp"
#define FFPF_IXP_PATH_BYTES  108 /* of a socket's name, as the system has it */

/* Of a name the socket's path; of a path itself. -FFPF_E_INVALID: it is no name, or too long. */
int ffpf_ixp_path(char out[FFPF_IXP_PATH_BYTES], const char *board, struct ffpf_error *err);

/* Whether a board of this name answers now. */
bool ffpf_ixp_answers(const char *board);

/* Calls `found` with the name of each board that answers, in the order of their names, until it returns false. */
void ffpf_ixp_each(bool (*found)(void *arg, const char *name), void *arg);

#endif
