/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
ffpf_error_set(struct ffpf_error *err, enum ffpf_code code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		err->sys_errno = 0;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -(int)code;
}

int
ffpf_error_set_errno(struct ffpf_error *err, enum ffpf_code code, int sys_errno, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		err->sys_errno = sys_errno;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		ffpf_error_append(err, ": %s", strerror(sys_errno));
	}
	return -(int)code;
}

void
ffpf_error_append(struct ffpf_error *err, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	if (!err)
		return;
	used = strnlen(err->text, sizeof(err->text) - 1);
	va_start(ap, fmt);
	vsnprintf(err->text + used, sizeof(err->text) - used, fmt, ap);
	va_end(ap);
}
