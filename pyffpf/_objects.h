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

#define PYFFPF_STREAM_NAME "arrow_array_stream" /* by which consumers know the capsule */

/* Consumers let go of a capsule while the exception that the stream gave them is on its way: it must get there. */
static void
pyffpf_stream_capsule_free(PyObject *capsule)
{
	PyObject *type, *value, *trace;

	PyErr_Fetch(&type, &value, &trace);
	ffpf_arrow_free(PyCapsule_GetPointer(capsule, PYFFPF_STREAM_NAME));
	PyErr_Restore(type, value, trace);
}

/* A capsule that owns the stream; NULL with an exception, and the stream is freed. */
__attribute__((visibility("default"))) PyObject *
pyffpf_stream_capsule(struct ArrowArrayStream *stream)
{
	PyObject *capsule = PyCapsule_New(stream, PYFFPF_STREAM_NAME, pyffpf_stream_capsule_free);

	if (!capsule)
		ffpf_arrow_free(stream);
	return capsule;
}

#endif
