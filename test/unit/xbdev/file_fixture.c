/* SPDX-License-Identifier: BSD-3-Clause */
/* See file_fixture.h. */
#include "test/unit/xbdev/file_fixture.h"

#include <unistd.h>

/* A bit of fallocate() that no kernel knows: -EOPNOTSUPP. */
#define NO_SUCH_MODE 0x4000

void fixture_set_path(struct fixture *f, const char *name)
{
	snprintf(f->path, sizeof(f->path), "%s/%s", harness_dir(), name);
}

void fixture_open_device(struct fixture *f, bool is_writable)
{
	f->desc = harness_open(&f->h, "f", is_writable);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

void fixture_close_device(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_remove(&f->h, f->dev);
}

void fixture_create(struct fixture *f, const char *params)
{
	f->dev =
		harness_create(&f->h, "file", "{'name': 'f', 'filename': '%s'%s}", f->path, params);
}

/* A context, and a fresh path in it. */
void fixture_prepare(struct fixture *f, const struct xr_platform *platform)
{
	harness_start_opts(&f->h, &(struct xbdev_ctx_opts){.platform = platform}, 1);
	fixture_set_path(f, "file");
	unlink(f->path);
	f->buf = aligned_alloc(4096, MIB);
	f->other = aligned_alloc(4096, MIB);
	assert_true(f->buf != NULL && f->other != NULL);
}

void fixture_finish(struct fixture *f)
{
	harness_stop(&f->h);
	free(f->buf);
	free(f->other);
}

void fixture_start_on(struct fixture *f, const struct xr_platform *platform, const char *params)
{
	fixture_prepare(f, platform);
	fixture_create(f, params);
	fixture_open_device(f, true);
}

void fixture_start(struct fixture *f, const char *params)
{
	fixture_start_on(f, NULL, params);
}

void fixture_stop(struct fixture *f)
{
	fixture_close_device(f);
	fixture_finish(f);
}

bool fixture_is_direct(const struct xbdev_device *dev)
{
	json_t *info = dev->ops->info(dev);
	bool value = json_is_true(json_object_get(info, "direct"));

	json_decref(info);
	return value;
}

struct stat fixture_stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st;
}

/* Bytes of the file that take up space. */
uint64_t fixture_allocated(struct fixture *f)
{
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	return (uint64_t)fixture_stat_of(f->path).st_blocks * 512;
}

void fixture_assert_not_made(struct fixture *f, int code, const char *text, const char *params)
{
	struct xu_error err;

	assert_null(harness_try_create(
		&f->h, "file", &err, "{'name': 'f', 'filename': '%s'%s}", f->path, params));
	assert_int_equal(err.code, code);
	if (strstr(err.text, text) == NULL) {
		fail_msg("'%s' is not in '%s'", text, err.text);
	}
}

json_int_t fixture_info_of(const struct fixture *f, const char *key)
{
	json_t *info = f->dev->ops->info(f->dev), *value = json_object_get(info, key);
	json_int_t number =
		json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);

	assert_non_null(value);
	json_decref(info);
	return number;
}

/* ---- resize ---- */

void fixture_on_resized(void *arg, const struct xu_error *err)
{
	struct fixture_resize *resize = arg;

	resize->nr_done++;
	resize->err = *err;
}

int fixture_resize_to(struct fixture *f, uint64_t size, struct xu_error *ret_err)
{
	struct fixture_resize resize = {0};

	f->dev->ops->resize(f->dev, size, fixture_on_resized, &resize);
	harness_wait(&f->h, resize.nr_done == 1);
	*ret_err = resize.err;
	return resize.err.code;
}

/* ---- a wrong ring ---- */

struct fixture_wrong fixture_wrong;

static void on_wrong(struct xr_op *op, int32_t result)
{
	(void)result;
	MUST(op == fixture_wrong.op);
	op->cb = fixture_wrong.cb;
	fixture_wrong.op = NULL;
	op->cb(op, fixture_wrong.result);
}

static void wrong_submit(void *ring, struct xr_op *op)
{
	bool is_refused =
		op->opcode == XR_OP_FALLOCATE &&
		(op->mode == PUNCH_MODE ? fixture_wrong.refuses_punch : fixture_wrong.refuses_zero);

	fixture_wrong.nr_fallocates += op->opcode == XR_OP_FALLOCATE;
	if (op->opcode <= XR_OP_FALLOCATE) {
		fixture_wrong.nr_ops++;
		fixture_wrong.last = *op;
		if (fixture_wrong.nr_wrong != 0) {
			MUST(fixture_wrong.op == NULL); /* one at a time */
			fixture_wrong.nr_wrong--;
			fixture_wrong.op = op;
			fixture_wrong.cb = op->cb;
			op->cb = on_wrong;
		}
	}
	if (is_refused) {
		op->mode |= NO_SUCH_MODE;
	}
	fixture_wrong.real->submit(ring, op);
	if (is_refused) {
		op->mode &= ~NO_SUCH_MODE;
	}
}

int fixture_wrong_ring_new(const struct xr_platform *platform, struct xr_reactor *reactor,
	uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	int rc = xr_platform_linux()->ring_new(
		platform, reactor, entries, &fixture_wrong.real, ret_ring, err);

	if (rc == 0) {
		fixture_wrong.ops = *fixture_wrong.real;
		fixture_wrong.ops.submit = wrong_submit;
		*ret_ops = &fixture_wrong.ops;
	}
	return rc;
}

int fixture_io_with_results(struct fixture *f, enum xbdev_op op, uint32_t nr_wrong, int32_t result)
{
	bool has_data = op == XBDEV_OP_READ || op == XBDEV_OP_WRITE;

	fixture_wrong.nr_wrong = nr_wrong;
	fixture_wrong.result = result;
	fixture_wrong.nr_ops = 0;
	return harness_io(
		&f->h, f->ch, op, 0, has_data ? f->buf : NULL, op == XBDEV_OP_FLUSH ? 0 : 8192, 0);
}
