/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/device.c, channel.c and context.c: names and limits, opening and claims, events,
 * and removal, with everything that can be in its way.
 */
#include "lib/reactor/platform.h"
#include "test/unit/xbdev/probe.h"

/* ---- registration ---- */

static void assert_no_device(struct harness *h, const char *name, int code, const char *text)
{
	struct xu_error err;

	assert_null(probe_try_new(h, &(struct probe_opts){.name = name, .nr_blocks = 1}, &err));
	assert_int_equal(err.code, code);
	if (strstr(err.text, text) == NULL) {
		fail_msg("'%s' is not in '%s'", text, err.text);
	}
	assert_null(xbdev_device_next(h->ctx, NULL));
}

static void test_device_names_are_checked(void **state)
{
	char name[XBDEV_NAME_SIZE + 10];
	struct probe *probe;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	assert_no_device(&h, "", -EINVAL, "this one has none");
	assert_no_device(&h, "a b", -EINVAL, "byte 2");
	assert_no_device(&h, "tab\t", -EINVAL, "byte 4");
	assert_no_device(&h, "\x7f", -EINVAL, "byte 1");
	assert_no_device(&h, "d\xc3\xb6", -EINVAL, "byte 2");
	/* The longest name works; the drivers make a longer one one without an end. */
	memset(name, 'x', sizeof(name));
	name[XBDEV_NAME_SIZE - 1] = '\0';
	probe = probe_new(&h, &(struct probe_opts){.name = name, .nr_blocks = 1});
	assert_ptr_equal(xbdev_device_find(h.ctx, name), &probe->dev);
	harness_remove(&h, &probe->dev);
	harness_stop(&h);
}

static void test_device_names_too_long_are_refused_by_every_driver(void **state)
{
	char name[XBDEV_NAME_SIZE + 10];
	struct xu_error err;
	struct harness h;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[XBDEV_NAME_SIZE] = '\0';
	harness_start(&h, 1, 1);
	harness_create(&h, "null", "{'name': 'base', 'size': '1MiB'}");
	assert_null(harness_try_create(&h, "null", &err, "{'name': '%s', 'size': 4096}", name));
	assert_int_equal(err.code, -EINVAL);
	assert_non_null(strstr(err.text, "255 characters"));
	assert_null(harness_try_create(&h, "malloc", &err, "{'name': '%s', 'size': 4096}", name));
	assert_int_equal(err.code, -EINVAL);
	assert_null(harness_try_create(&h, "error", &err, "{'name': '%s', 'base': 'base'}", name));
	assert_int_equal(err.code, -EINVAL);
	assert_null(harness_try_create(&h, "delay", &err, "{'name': '%s', 'base': 'base'}", name));
	assert_int_equal(err.code, -EINVAL);
	assert_null(harness_try_create(&h, "file", &err,
		"{'name': '%s', 'size': 4096, 'filename': '%s/long'}", name, harness_dir()));
	assert_int_equal(err.code, -EINVAL);
	harness_stop(&h);
}

static void test_device_names_are_taken_once(void **state)
{
	struct probe *probe;
	struct xu_error err;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe = probe_new(&h, &(struct probe_opts){.name = "d", .nr_blocks = 1});
	assert_null(probe_try_new(&h, &(struct probe_opts){.name = "d", .nr_blocks = 1}, &err));
	assert_int_equal(err.code, -EEXIST);
	assert_non_null(strstr(err.text, "'d'"));
	assert_ptr_equal(xbdev_device_find(h.ctx, "d"), &probe->dev);
	harness_remove(&h, &probe->dev);
	assert_null(xbdev_device_find(h.ctx, "d"));
	probe = probe_new(&h, &(struct probe_opts){.name = "d", .nr_blocks = 1});
	assert_ptr_equal(xbdev_device_find(h.ctx, "d"), &probe->dev);
	harness_stop(&h);
}

static void test_device_limits_are_checked(void **state)
{
	static const struct xbdev_limits good = {.block_size = 512,
		.buf_align = 1,
		.max_transfer = 512,
		.max_iov = 1,
		.max_zeroes = 512,
		.queue_depth = 1};
	static const struct {
		const char *what;
		struct xbdev_limits limits;
	} bad[] = {
		{"block size", {.block_size = 1024}},
		{"block size", {.block_size = 256}},
		{"block size", {.block_size = 8192}},
		{"impossible limits", {.buf_align = 3}},
		{"impossible limits", {.buf_align = 8192}},
		{"impossible limits", {.max_transfer = 256}},
		{"impossible limits", {.max_transfer = 513}},
		{"impossible limits", {.max_zeroes = 100}},
		{"impossible limits", {.max_zeroes = 1000}},
		{"impossible limits", {.block_size = 4096, .max_transfer = 512}},
	};
	struct probe_opts opts = {.nr_blocks = 1, .limits = good};
	struct xu_error err;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	harness_remove(&h, &probe_new(&h, &opts)->dev);
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		opts.limits = bad[i].limits;
		assert_null(probe_try_new(&h, &opts, &err));
		assert_int_equal(err.code, -EINVAL);
		assert_non_null(strstr(err.text, bad[i].what));
	}
	opts.limits = good;
	opts.nr_blocks = 0;
	assert_null(probe_try_new(&h, &opts, &err));
	assert_int_equal(err.code, -EINVAL);
	assert_non_null(strstr(err.text, "smaller than one block"));
	assert_null(xbdev_device_next(h.ctx, NULL));
	harness_stop(&h);
}

static void test_device_is_found_by_name_and_uuid(void **state)
{
	const char *uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
	struct xbdev_device *a, *b;
	char text[XU_UUID_TEXT_SIZE];
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	a = harness_create(&h, "null", "{'name': 'a', 'size': '1MiB', 'uuid': '%s'}", uuid);
	b = harness_create(&h, "null", "{'name': 'b', 'size': '1MiB'}");
	assert_ptr_equal(xbdev_device_find(h.ctx, "a"), a);
	assert_ptr_equal(xbdev_device_find(h.ctx, "b"), b);
	assert_ptr_equal(xbdev_device_find(h.ctx, uuid), a);
	xu_uuid_format(&b->uuid, text);
	assert_false(xu_uuid_is_null(&b->uuid));
	assert_ptr_equal(xbdev_device_find(h.ctx, text), b);
	assert_null(xbdev_device_find(h.ctx, "c"));
	assert_null(xbdev_device_find(h.ctx, "6ba7b810-9dad-11d1-80b4-00c04fd430c9"));
	assert_ptr_equal(xbdev_device_next(h.ctx, NULL), a);
	assert_ptr_equal(xbdev_device_next(h.ctx, a), b);
	assert_null(xbdev_device_next(h.ctx, b));
	harness_stop(&h);
}

static void test_device_owners_are_spread(void **state)
{
	uint32_t nr_of_reactor[3] = {0};
	struct harness h;

	(void)state;
	harness_start(&h, 3, 3);
	for (uint32_t i = 0; i < 9; i++) {
		struct xbdev_device *dev =
			harness_create(&h, "null", "{'name': 'd%u', 'size': '1MiB'}", i);

		nr_of_reactor[xr_reactor_index(dev->owner)]++;
	}
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(nr_of_reactor[i], 3);
	}
	harness_stop(&h);
}

/* ---- opening and claims ---- */

static int try_open(
	struct harness *h, const char *name, bool is_writable, struct xbdev_desc **ret_desc)
{
	struct xu_error err = {0};
	int rc = xbdev_desc_open(h->ctx, name, is_writable, NULL, NULL, ret_desc, &err);

	assert_int_equal(err.code, rc);
	assert_true(rc == 0 || strstr(err.text, name) != NULL);
	return rc;
}

static void test_device_opens_by_name_and_uuid(void **state)
{
	const char *uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
	struct xbdev_desc *a, *b;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	harness_create(&h, "null", "{'name': 'a', 'size': '1MiB', 'uuid': '%s'}", uuid);
	assert_int_equal(try_open(&h, "a", true, &a), 0);
	assert_int_equal(try_open(&h, uuid, true, &b), 0);
	assert_ptr_equal(a->dev, b->dev);
	assert_int_equal(try_open(&h, "nothing", false, &a), -ENODEV);
	xbdev_desc_close(a);
	xbdev_desc_close(b);
	harness_stop(&h);
}

static void test_device_that_is_read_only_is_not_opened_for_writing(void **state)
{
	struct xbdev_desc *desc;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe_new(&h, &(struct probe_opts){.nr_blocks = 1, .is_read_only = true});
	assert_int_equal(try_open(&h, "probe", true, &desc), -EROFS);
	assert_int_equal(try_open(&h, "probe", false, &desc), 0);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void test_device_that_is_claimed_is_written_by_nobody_else(void **state)
{
	struct xbdev_desc *writer, *reader, *other;
	struct xu_error err = {0};
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe_new(&h, &(struct probe_opts){.nr_blocks = 1});
	writer = harness_open(&h, "probe", true);
	other = harness_open(&h, "probe", true);
	reader = harness_open(&h, "probe", false);
	assert_int_equal(xbdev_desc_claim(writer, "raid md0", &err), -EBUSY);
	assert_non_null(strstr(err.text, "open for writing elsewhere"));
	assert_int_equal(xbdev_desc_claim(reader, "raid md0", &err), -EBUSY);
	xbdev_desc_close(other);
	assert_int_equal(xbdev_desc_claim(writer, "raid md0", &err), 0);
	/* From now on: reading yes, writing and claiming no. */
	assert_int_equal(try_open(&h, "probe", false, &other), 0);
	assert_int_equal(xbdev_desc_claim(other, "another", &err), -EBUSY);
	assert_non_null(strstr(err.text, "raid md0"));
	assert_int_equal(xbdev_desc_claim(writer, "another", &err), -EBUSY);
	xbdev_desc_close(other);
	err = (struct xu_error){0};
	assert_int_equal(xbdev_desc_open(h.ctx, "probe", true, NULL, NULL, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, "raid md0"));
	/* Its end is the end of the descriptor. */
	xbdev_desc_close(reader);
	assert_int_equal(try_open(&h, "probe", true, &other), -EBUSY);
	xbdev_desc_close(writer);
	assert_int_equal(try_open(&h, "probe", true, &other), 0);
	assert_int_equal(xbdev_desc_claim(other, "another", &err), 0);
	xbdev_desc_close(other);
	harness_stop(&h);
}

static void close_desc(void *arg)
{
	xbdev_desc_close(arg);
}

static void test_device_is_not_closed_with_an_open_channel(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe_new(&h, &(struct probe_opts){.nr_blocks = 1});
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	assert_true(harness_aborts(close_desc, desc));
	xbdev_channel_put(ch);
	assert_false(harness_aborts(close_desc, desc));
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* ---- events ---- */

struct opener {
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	uint32_t nr_events[2];
	bool closes_itself;
	bool claims;
	int claim_status;
	struct opener *closes; /* another */
};

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct opener *opener = arg;

	assert_ptr_equal(desc, opener->desc);
	opener->nr_events[event]++;
	if (opener->claims) {
		opener->claim_status = xbdev_desc_claim(desc, "test", NULL);
	}
	if (opener->closes != NULL && opener->closes->desc != NULL) {
		xbdev_desc_close(opener->closes->desc);
		opener->closes->desc = NULL;
	}
	if (opener->closes_itself) {
		if (opener->ch != NULL) {
			xbdev_channel_put(opener->ch);
			opener->ch = NULL;
		}
		xbdev_desc_close(desc);
		opener->desc = NULL;
	}
}

static void open_with_events(
	struct harness *h, const char *name, bool is_writable, struct opener *opener)
{
	assert_int_equal(
		xbdev_desc_open(h->ctx, name, is_writable, on_event, opener, &opener->desc, NULL),
		0);
}

struct graph_listener {
	struct xbdev_graph_listener listener;
	uint32_t nr_events[3];
	bool leaves; /* after its first event */
};

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct graph_listener *l = xu_container_of(listener, struct graph_listener, listener);

	assert_string_equal(dev->name, "probe");
	l->nr_events[event]++;
	if (l->leaves) {
		xbdev_ctx_del_listener(listener);
	}
}

static void test_device_tells_its_size_to_every_opener(void **state)
{
	struct opener openers[4] = {0};
	struct graph_listener listeners[3] = {{.listener.fn = on_graph},
		{.listener.fn = on_graph, .leaves = true}, {.listener.fn = on_graph}};
	const uint32_t *nr_events = listeners[0].nr_events;
	struct probe *probe;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		xbdev_ctx_add_listener(h.ctx, &listeners[i].listener);
	}
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	assert_int_equal(nr_events[XBDEV_GRAPH_ADDED], 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(openers); i++) {
		open_with_events(&h, "probe", i % 2 == 0, &openers[i]);
	}
	xbdev_device_set_size(&probe->dev, 8); /* no change */
	assert_int_equal(openers[0].nr_events[XBDEV_EVENT_RESIZE], 0);
	assert_int_equal(nr_events[XBDEV_GRAPH_RESIZED], 0);
	xbdev_device_set_size(&probe->dev, 4);
	assert_int_equal(nr_events[XBDEV_GRAPH_RESIZED], 1);
	assert_int_equal(xbdev_device_size_bytes(&probe->dev), 4 * 512);
	for (uint32_t i = 0; i < ARRAY_SIZE(openers); i++) {
		assert_int_equal(openers[i].nr_events[XBDEV_EVENT_RESIZE], 1);
		assert_int_equal(openers[i].nr_events[XBDEV_EVENT_REMOVE], 0);
		xbdev_desc_close(openers[i].desc);
	}
	harness_stop(&h);
	assert_int_equal(nr_events[XBDEV_GRAPH_REMOVED], 1);
	/* One that leaves while it is told takes nobody with it. */
	assert_memory_equal(nr_events, listeners[2].nr_events, sizeof(listeners[2].nr_events));
	assert_int_equal(listeners[1].nr_events[XBDEV_GRAPH_ADDED], 1);
	assert_int_equal(listeners[1].nr_events[XBDEV_GRAPH_RESIZED], 0);
	assert_int_equal(listeners[1].nr_events[XBDEV_GRAPH_REMOVED], 0);
}

/* What a callback may do to the list it is called from: close itself and others, and claims see all
 * openers. */
static void test_device_events_may_change_the_openers(void **state)
{
	struct opener openers[4] = {0};
	struct probe *probe;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	for (uint32_t i = 0; i < ARRAY_SIZE(openers); i++) {
		open_with_events(&h, "probe", true, &openers[i]);
	}
	openers[0].claims = true; /* the others have not been told yet */
	openers[1].closes_itself = true;
	openers[2].closes = &openers[3];
	xbdev_device_set_size(&probe->dev, 4);
	assert_int_equal(openers[0].claim_status, -EBUSY);
	assert_int_equal(openers[1].nr_events[XBDEV_EVENT_RESIZE], 1);
	assert_int_equal(openers[2].nr_events[XBDEV_EVENT_RESIZE], 1);
	assert_int_equal(openers[3].nr_events[XBDEV_EVENT_RESIZE], 0);
	assert_null(openers[1].desc);
	assert_null(openers[3].desc);
	xbdev_desc_close(openers[2].desc);
	xbdev_device_set_size(&probe->dev, 3);
	assert_int_equal(openers[0].claim_status, 0);
	xbdev_desc_close(openers[0].desc);
	harness_stop(&h);
}

/* ---- removal ---- */

static void on_removed(void *arg)
{
	(*(uint32_t *)arg)++;
}

static void test_device_is_removed_at_once_when_nobody_has_it(void **state)
{
	struct xbdev_desc *desc;
	uint32_t nr_removed = 0;
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;

	(void)state;
	harness_start(&h, 2, 2);
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	probe->ret_destroyed = &is_destroyed;
	assert_int_equal(xbdev_device_remove(&probe->dev, on_removed, &nr_removed), 0);
	/* It is not to be had from now on, but it still has its name. */
	assert_int_equal(try_open(&h, "probe", false, &desc), -ENODEV);
	assert_int_equal(xbdev_device_remove(&probe->dev, on_removed, &nr_removed), -EBUSY);
	assert_int_equal(nr_removed, 0);
	harness_wait(&h, nr_removed == 1);
	assert_true(is_destroyed);
	harness_poll_times(&h, 10);
	assert_int_equal(nr_removed, 1);
	harness_stop(&h);
}

static void test_device_waits_for_its_openers(void **state)
{
	struct opener openers[2] = {{.closes_itself = true}, {0}};
	struct xbdev_channel *ch = NULL;
	uint32_t nr_removed = 0;
	struct probe *probe;
	struct harness h;

	(void)state;
	harness_start(&h, 2, 2);
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	open_with_events(&h, "probe", true, &openers[0]);
	open_with_events(&h, "probe", false, &openers[1]);
	openers[0].ch = harness_channel(&h, openers[0].desc, 0);
	openers[1].ch = harness_channel(&h, openers[1].desc, 1);
	assert_int_equal(xbdev_device_remove(&probe->dev, on_removed, &nr_removed), 0);
	assert_int_equal(
		xbdev_channel_get(openers[1].desc, xbdev_ctx_control(h.ctx), &ch), -ENODEV);
	harness_wait(&h, openers[1].nr_events[XBDEV_EVENT_REMOVE] == 1);
	assert_int_equal(openers[0].nr_events[XBDEV_EVENT_REMOVE], 1);
	harness_poll_times(&h, 10);
	assert_int_equal(nr_removed, 0);
	xbdev_channel_put(openers[1].ch);
	harness_poll_times(&h, 10);
	assert_int_equal(nr_removed, 0);
	xbdev_desc_close(openers[1].desc);
	harness_wait(&h, nr_removed == 1);
	harness_stop(&h);
}

/* A channel that is still on its way back when its descriptor is closed holds the device. */
static void test_device_waits_for_channels_on_their_way(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	uint32_t nr_removed = 0;
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;

	(void)state;
	harness_start(&h, 2, 2);
	probe = probe_new(
		&h, &(struct probe_opts){.nr_blocks = 8, .owner = xbdev_ctx_reactor(h.ctx, 1)});
	probe->ret_destroyed = &is_destroyed;
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0); /* forwards to reactor 1 */
	harness_poll_times(&h, 5);
	assert_int_equal(probe->nr_open, 1);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	assert_int_equal(xbdev_device_remove(&probe->dev, on_removed, &nr_removed), 0);
	for (uint32_t i = 0; i < 10; i++) {
		xr_reactor_poll(xbdev_ctx_control(h.ctx), 0);
	}
	assert_false(is_destroyed);
	harness_wait(&h, nr_removed == 1);
	assert_true(is_destroyed);
	harness_stop(&h);
}

static void test_device_fails_what_is_in_flight_when_it_goes(void **state)
{
	enum { NR = 12, DEPTH = 4 };
	struct harness_io hio[NR];
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	char buf[512];

	(void)state;
	for (uint32_t holds = 0; holds < 2; holds++) {
		bool is_destroyed = false;

		harness_start(&h, 1, 1);
		probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8,
					      .mode = PROBE_HOLD,
					      .holds_aborted = holds == 1,
					      .limits = {.queue_depth = DEPTH}});
		probe->ret_destroyed = &is_destroyed;
		desc = harness_open(&h, "probe", true);
		ch = harness_channel(&h, desc, 0);
		for (uint32_t i = 0; i < NR; i++) {
			harness_io_set(&hio[i], ch, XBDEV_OP_READ, 0, buf, 512);
			assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
		}
		assert_int_equal(xbdev_device_remove(&probe->dev, NULL, NULL), 0);
		/* What waits in line ends at once, what the driver has when it lets go. */
		for (uint32_t i = holds ? DEPTH : 0; i < NR; i++) {
			harness_wait(&h, hio[i].nr_done == 1);
			assert_int_equal(hio[i].status, -ENODEV);
		}
		assert_int_equal(probe->nr_aborts, 1);
		if (holds) {
			harness_poll_times(&h, 10);
			assert_int_equal(hio[0].nr_done, 0);
			assert_int_equal(probe_nr_held(probe), DEPTH);
			probe_end_all(probe, 0);
			/* Done or not, the device is not there: nothing may be built on it. */
			assert_int_equal(hio[0].status, -ENODEV);
		}
		harness_poll_times(&h, 5);
		for (uint32_t i = 0; i < NR; i++) {
			assert_int_equal(hio[i].nr_done, 1);
		}
		xbdev_channel_put(ch);
		xbdev_desc_close(desc);
		harness_wait(&h, is_destroyed);
		harness_stop(&h);
	}
}

/* ---- channels ---- */

struct order_listener {
	struct xbdev_graph_listener listener;
	char order[64]; /* names of what has been removed */
};

static void on_order(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct order_listener *l = xu_container_of(listener, struct order_listener, listener);

	if (event == XBDEV_GRAPH_REMOVED) {
		strcat(l->order, dev->name);
		/* A base is told to go only when nothing stands on it any more. */
		assert_null(dev->claim);
	}
}

/* All devices are removed: what stands on others goes before them. */
static void test_devices_are_removed_from_the_top(void **state)
{
	struct order_listener listener = {.listener.fn = on_order};
	struct xbdev_device *base;
	struct harness h;

	harness_start(&h, 1, 1);
	xu_list_init(&listener.listener.link);
	xbdev_ctx_add_listener(h.ctx, &listener.listener);
	base = harness_create(&h, "malloc", "{'name':'a','size':'1MiB'}");
	harness_create(&h, "delay", "{'name':'b','base':'a'}");
	harness_create(&h, "delay", "{'name':'c','base':'b'}");
	harness_create(&h, "malloc", "{'name':'d','size':'1MiB'}");
	xbdev_device_remove_all(h.ctx);
	/* Nothing has been said to the base yet, so what stands on it can still write. */
	assert_int_equal(atomic_load(&base->state), XBDEV_DEVICE_READY);
	harness_wait(&h, xbdev_device_next(h.ctx, NULL) == NULL);
	assert_non_null(strchr(listener.order, 'd'));
	assert_true(strchr(listener.order, 'c') < strchr(listener.order, 'b') &&
		    strchr(listener.order, 'b') < strchr(listener.order, 'a'));
	xbdev_ctx_del_listener(&listener.listener);
	harness_stop(&h);
}

static void test_channel_reports_the_driver_that_cannot_open(void **state)
{
	struct xbdev_channel *ch = NULL;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	probe->open_error = -EMFILE;
	desc = harness_open(&h, "probe", true);
	assert_int_equal(xbdev_channel_get(desc, xbdev_ctx_control(h.ctx), &ch), -EMFILE);
	assert_null(ch);
	probe->open_error = 0;
	ch = harness_channel(&h, desc, 0);
	assert_int_equal(probe->nr_open, 1);
	xbdev_channel_put(ch);
	assert_int_equal(probe->nr_open, 0);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* ---- the context ---- */

static void test_context_takes_a_bounded_number_of_reactors(void **state)
{
	struct xbdev_ctx *ctx = NULL;
	struct xu_error err = {0};

	(void)state;
	assert_int_equal(
		xbdev_ctx_new(&(struct xbdev_ctx_opts){.nr_reactors = XBDEV_MAX_REACTORS + 1}, &ctx,
			&err),
		-EINVAL);
	assert_non_null(strstr(err.text, "65"));
	assert_int_equal(xbdev_ctx_new(&(struct xbdev_ctx_opts){0}, &ctx, &err), 0);
	assert_int_equal(xbdev_ctx_nr_reactors(ctx), 1);
	assert_ptr_equal(xbdev_ctx_platform(ctx), xr_platform_linux());
	assert_null(xbdev_ctx_log(ctx));
	xbdev_ctx_free(ctx);
	xbdev_ctx_free(NULL);
}

static void free_context(void *arg)
{
	xbdev_ctx_free(arg);
}

static void test_context_is_not_freed_with_devices_in_it(void **state)
{
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	assert_true(harness_aborts(free_context, h.ctx));
	harness_stop(&h);
}

struct visit {
	struct xbdev_hop hop;
	uint32_t order[4];
	uint32_t nr_visits;
	struct xr_reactor *done_on;
};

static void on_visit(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct visit *visit = xu_container_of(hop, struct visit, hop);

	assert_ptr_equal(xr_reactor_current(), reactor);
	visit->order[visit->nr_visits++] = xr_reactor_index(reactor);
}

static void on_visited(struct xbdev_hop *hop)
{
	xu_container_of(hop, struct visit, hop)->done_on = xr_reactor_current();
}

static void test_context_hop_visits_every_reactor_and_comes_home(void **state)
{
	(void)state;
	for (uint32_t nr = 1; nr <= 4; nr++) {
		struct visit visit = {.hop = {.fn = on_visit, .done = on_visited}};
		struct harness h;

		harness_start(&h, nr, nr);
		xbdev_hop_start(&visit.hop, h.ctx);
		harness_wait(&h, visit.done_on != NULL);
		assert_ptr_equal(visit.done_on, xbdev_ctx_control(h.ctx));
		assert_int_equal(visit.nr_visits, nr);
		for (uint32_t i = 0; i < nr; i++) {
			assert_int_equal(visit.order[i], i);
		}
		harness_stop(&h);
	}
}

/* Found by name and by UUID among many, whatever came, went or was renamed meanwhile; of several
 * with one UUID the oldest is. */
static void test_device_is_found_among_many(void **state)
{
	enum { NR = 600 };
	static const char uuid[] = "01234567-89ab-4cde-8f01-23456789abcd";
	static struct xbdev_device *devs[NR];
	char name[64], text[XU_UUID_TEXT_SIZE];
	struct xu_error err;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	for (uint32_t i = 0; i < NR; i++) {
		devs[i] = i % 200 != 7 ? harness_create(&h, "null", "{'name':'n%u','size':4096}", i)
				       : harness_create(&h, "null",
						 "{'name':'n%u','size':4096,'uuid':'%s'}", i, uuid);
	}
	assert_ptr_equal(xbdev_device_find(h.ctx, uuid), devs[7]);
	harness_remove(&h, devs[7]);
	assert_ptr_equal(xbdev_device_find(h.ctx, uuid), devs[207]);
	assert_ptr_equal(
		xbdev_device_find(h.ctx, "01234567-89AB-4CDE-8F01-23456789ABCD"), devs[207]);
	devs[7] = harness_create(&h, "null", "{'name':'n7','size':4096,'uuid':'%s'}", uuid);
	assert_ptr_equal(xbdev_device_find(h.ctx, uuid), devs[207]);
	for (uint32_t i = 0; i < NR; i += 3) {
		snprintf(name, sizeof(name), "renamed-%u", i);
		assert_int_equal(xbdev_device_rename(devs[i], name, &err), 0);
		assert_int_equal(xbdev_device_rename(devs[i + 1], name, &err), -EEXIST);
	}
	for (uint32_t i = 0; i < NR; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_ptr_equal(xbdev_device_find(h.ctx, name), i % 3 != 0 ? devs[i] : NULL);
		snprintf(name, sizeof(name), "renamed-%u", i);
		assert_ptr_equal(xbdev_device_find(h.ctx, name), i % 3 == 0 ? devs[i] : NULL);
		xu_uuid_format(&devs[i]->uuid, text);
		assert_ptr_equal(
			xbdev_device_find(h.ctx, text), i % 200 != 7 ? devs[i] : devs[207]);
	}
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device_names_are_checked),
		cmocka_unit_test(test_device_names_too_long_are_refused_by_every_driver),
		cmocka_unit_test(test_device_names_are_taken_once),
		cmocka_unit_test(test_device_limits_are_checked),
		cmocka_unit_test(test_device_is_found_by_name_and_uuid),
		cmocka_unit_test(test_device_owners_are_spread),
		cmocka_unit_test(test_device_opens_by_name_and_uuid),
		cmocka_unit_test(test_device_that_is_read_only_is_not_opened_for_writing),
		cmocka_unit_test(test_device_that_is_claimed_is_written_by_nobody_else),
		cmocka_unit_test(test_device_is_not_closed_with_an_open_channel),
		cmocka_unit_test(test_device_tells_its_size_to_every_opener),
		cmocka_unit_test(test_device_events_may_change_the_openers),
		cmocka_unit_test(test_device_is_removed_at_once_when_nobody_has_it),
		cmocka_unit_test(test_device_waits_for_its_openers),
		cmocka_unit_test(test_device_waits_for_channels_on_their_way),
		cmocka_unit_test(test_device_fails_what_is_in_flight_when_it_goes),
		cmocka_unit_test(test_channel_reports_the_driver_that_cannot_open),
		cmocka_unit_test(test_devices_are_removed_from_the_top),
		cmocka_unit_test(test_context_takes_a_bounded_number_of_reactors),
		cmocka_unit_test(test_context_is_not_freed_with_devices_in_it),
		cmocka_unit_test(test_context_hop_visits_every_reactor_and_comes_home),
		cmocka_unit_test(test_device_is_found_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
