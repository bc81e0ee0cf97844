/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PYFFPF_PACKET_H
#define PYFFPF_PACKET_H
/*
 * pyffpf.Packet: a row of a batch as an object, made without running any Python, as a loop over packets makes one for
 * each. pyffpf/packet.py adds what need not be fast. Part of pyffpf._core, called through ctypes.PyDLL like _objects.h;
 * only the limited API is used.
 *
 * It holds a copy of its row, so that most of what it is asked takes nothing else, and a reference to its batch. There
 * are no cycles: a batch knows none of its packets. So the collector of cycles need not know of them either, which a
 * class of Python's own would tell it, at twice the price of a packet.
 */
struct pyffpf_packet {
	PyObject_HEAD PyObject *batch; /* what has the octets */
	uint32_t number;               /* of the row in it */
	struct ffpf_row row;
};

/* The one string that every packet's octets are looked up with. */
static PyObject *
pyffpf_datas_name(void)
{
	static PyObject *name; /* of the interpreter; made with its lock */

	if (!name)
		name = PyUnicode_InternFromString("datas");
	return name;
}

static PyObject *
pyffpf_packet_ts_ns(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromLongLong(((const struct pyffpf_packet *)self)->row.ts_ns);
}

static PyObject *
pyffpf_packet_caplen(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLong(((const struct pyffpf_packet *)self)->row.caplen);
}

static PyObject *
pyffpf_packet_len(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLong(((const struct pyffpf_packet *)self)->row.len);
}

static PyObject *
pyffpf_packet_row(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLong(((const struct pyffpf_packet *)self)->number);
}

static PyObject *
pyffpf_packet_batch(PyObject *self, void *unused)
{
	PyObject *batch = ((const struct pyffpf_packet *)self)->batch;

	(void)unused;
	Py_INCREF(batch);
	return batch;
}

/* From the batch's list, which makes all when the first is asked for. */
static PyObject *
pyffpf_packet_data(PyObject *self, void *unused)
{
	const struct pyffpf_packet *packet = (const struct pyffpf_packet *)self;
	PyObject *name = pyffpf_datas_name();
	PyObject *datas = name ? PyObject_GetAttr(packet->batch, name) : NULL;
	PyObject *data;

	(void)unused;
	if (!datas)
		return NULL;
	data = PyList_GetItem(datas, packet->number); /* borrowed, or IndexError, or SystemError for no list */
	Py_XINCREF(data);
	Py_DECREF(datas);
	return data;
}

static PyObject *
pyffpf_packet_refuse(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
	(void)type;
	(void)arguments;
	(void)names;
	PyErr_SetString(PyExc_TypeError, "batches make packets: iterate over one, or take batch.packet(row)");
	return NULL;
}

static void
pyffpf_packet_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	Py_DECREF(((struct pyffpf_packet *)self)->batch);
	PyObject_Free(self);
	Py_DECREF((PyObject *)type); /* each object of a type that was made at run time holds it */
}

/* The type, a new reference, from which none derives; NULL with an exception. */
__attribute__((visibility("default"))) PyObject *
pyffpf_packet_type(void)
{
	static PyGetSetDef getters[] = {
		{ "ts_ns", pyffpf_packet_ts_ns, NULL, "Nanoseconds since 1970, UTC.", NULL },
		{ "caplen", pyffpf_packet_caplen, NULL, "Octets captured.", NULL },
		{ "len", pyffpf_packet_len, NULL, "Octets on the wire.", NULL },
		{ "data", pyffpf_packet_data, NULL, "The captured octets, link header first; a copy.", NULL },
		{ "_row", pyffpf_packet_row, NULL, "Its number in the batch.", NULL },
		{ "_batch", pyffpf_packet_batch, NULL, "What has its octets.", NULL },
		{ NULL, NULL, NULL, NULL, NULL },
	};
	static PyType_Slot slots[] = {
		{ Py_tp_new, pyffpf_packet_refuse },
		{ Py_tp_dealloc, pyffpf_packet_dealloc },
		{ Py_tp_getset, getters },
		{ 0, NULL },
	};
	static PyType_Spec spec = { "pyffpf.packet.Packet", sizeof(struct pyffpf_packet), 0, Py_TPFLAGS_DEFAULT,
				    slots };

	return PyType_FromSpec(&spec);
}

/* A list of objects of that type, for rows first to first + n - 1 of the batch, whose rows these are; NULL with an
 * exception. */
__attribute__((visibility("default"))) PyObject *
pyffpf_packets(PyObject *type, PyObject *batch, const struct ffpf_row *rows, uint32_t first, uint32_t n)
{
	PyObject *list = PyList_New(n);

	for (uint32_t i = 0; list && i < n; i++) {
		PyObject *made = PyType_GenericAlloc((PyTypeObject *)type, 0);
		struct pyffpf_packet *packet = (struct pyffpf_packet *)made;

		if (!made) {
			Py_DECREF(list);
			return NULL;
		}
		Py_INCREF(batch);
		packet->batch = batch;
		packet->number = first + i;
		packet->row = rows[first + i];
		PyList_SetItem(list, i, made); /* takes over the reference */
	}
	return list;
}

#endif
