/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PYFFPF_OBJECTS_H
#define PYFFPF_OBJECTS_H
/*
 * What makes Python objects, and so needs the interpreter's lock, which cffi lets go of in each call: part of
 * pyffpf._core, called through ctypes.PyDLL. To be included once, after Python.h and ffpf.h.
 */

/* A list of n bytes objects, one for each row; NULL with an exception. */
__attribute__((visibility("default"))) PyObject *
pyffpf_datas(const uint8_t *base, const struct ffpf_row *rows, uint32_t n)
{
	PyObject *list = PyList_New(n);

	for (uint32_t i = 0; list && i < n; i++) {
		const char *data = (const char *)base + rows[i].offset;
		PyObject *bytes = PyBytes_FromStringAndSize(data, rows[i].caplen);

		if (!bytes) {
			Py_DECREF(list);
			return NULL;
		}
		PyList_SetItem(list, i, bytes); /* takes over the reference */
	}
	return list;
}

#endif
