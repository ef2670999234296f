/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remote devices in configuration documents, with our own target in the simulator: by the
 * document's names of parameters or the driver's, saved, and compared with what there is, though
 * the driver says more about a device than any document does.
 */
#include "test/unit/xnvmf/host_world.h"

#include "lib/xbdev/config/configuration.h"

struct document_world {
	struct host_world w;
	struct xbdev_configuration config;
	struct xbdev_carry carry;
	struct xbdev_text *text;
	char *saved;
	bool is_done;
	struct xu_error err;
};

static int start(void **state)
{
	static struct document_world dw;

	memset(&dw, 0, sizeof(dw));
	MUST(xbdev_driver_add(&xnvmf_host_driver) == 0);
	world_start(&dw.w, 1, 1);
	world_start_node(&dw.w);
	*state = &dw;
	return 0;
}

static int stop(void **state)
{
	struct document_world *dw = *state;

	xbdev_configuration_fini(&dw->config);
	free(dw->saved);
	world_stop(&dw->w);
	return 0;
}

static void on_done(struct xbdev_carry *carry, const struct xu_error *err)
{
	struct document_world *dw = xu_container_of(carry, struct document_world, carry);

	dw->err = *err;
	dw->is_done = true;
}

static void do_carry_out(void *arg)
{
	struct document_world *dw = arg;

	xbdev_configuration_carry_out(
		&dw->config, &dw->carry, dw->w.ctx, XBDEV_CONFIG_APPLY, dw->text, on_done);
}

static void do_save(void *arg)
{
	struct document_world *dw = arg;

	free(dw->saved);
	dw->saved = NULL;
	MUST(xbdev_configuration_dump(&dw->config, dw->w.ctx, &dw->saved, &dw->err) == 0);
}

static bool is_done(void *arg)
{
	return ((struct document_world *)arg)->is_done;
}

static int carry_out(struct document_world *dw, const char *text)
{
	if (xbdev_text_parse("c.json", text, strlen(text), &dw->text, &dw->err) != 0) {
		fail_msg("%s", dw->err.text);
	}
	dw->is_done = false;
	sim_call(dw->w.sim, xbdev_ctx_control(dw->w.ctx), do_carry_out, dw);
	assert_int_equal(sim_run(dw->w.sim, is_done, dw, 60 * XU_NS_PER_S), 0);
	xbdev_text_free(dw->text);
	return dw->err.code;
}

/* The one entry for the node's namespace, with its address and NQN by these names. */
static int parse(struct document_world *dw, const char *addr, const char *nqn, const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text),
		"{'base_devices': [{'method': 'nvmf', 'params': {'name': 'r', '%s': '%s', '%s': "
		"'%s'%s}}]}",
		addr, sim_host_address(dw->w.node), nqn, WORLD_NQN, more);
	for (char *c = text; *c != '\0'; c++) {
		*c = *c == '\'' ? '"' : *c;
	}
	return carry_out(dw, text);
}

static const struct xbdev_device *must_parse(
	struct document_world *dw, const char *addr, const char *nqn, const char *more)
{
	const struct xbdev_device *dev;

	if (parse(dw, addr, nqn, more) != 0) {
		fail_msg("%s", dw->err.text);
	}
	dev = xbdev_device_find(dw->w.ctx, "r");
	assert_non_null(dev);
	return dev;
}

static void test_remote_device_is_the_same_in_other_words(void **state)
{
	struct document_world *dw = *state;
	const struct xbdev_device *dev = must_parse(dw, "addr", "nqn", ", 'port': 4420");
	json_t *root, *params;

	assert_ptr_equal(must_parse(dw, "addr", "nqn", ", 'port': 4420"), dev);
	assert_ptr_equal(must_parse(dw, "traddr", "subnqn", ""), dev);
	assert_int_equal(carry_out(dw, "{\"base_devices\": [{\"method\": \"nvmf\", \"params\": "
				       "{\"name\": \"s\", \"traddr\": \"::1\"}}]}"),
		-EINVAL);
	assert_string_equal(dw->err.text, "c.json:1:48: base_devices[0].params: 'nqn' is missing: "
					  "NQN of the subsystem");
	assert_int_equal(parse(dw, "traddr", "nqn", ", 'addr': '::1'"), -EINVAL);
	assert_non_null(strstr(dw->err.text,
		"base_devices[0].params.addr: the same is said twice, under another name"));

	/* Saved by the document's names, with all that the driver has chosen. */
	sim_call(dw->w.sim, xbdev_ctx_control(dw->w.ctx), do_save, dw);
	root = json_loads(dw->saved, 0, NULL);
	params =
		json_object_get(json_array_get(json_object_get(root, "base_devices"), 0), "params");
	assert_string_equal(json_string_value(json_object_get(params, "nqn")), WORLD_NQN);
	assert_string_equal(
		json_string_value(json_object_get(params, "addr")), sim_host_address(dw->w.node));
	assert_non_null(json_object_get(params, "hostnqn"));
	assert_non_null(json_object_get(params, "uuid"));
	json_decref(root);
	assert_int_equal(carry_out(dw, dw->saved), 0);
	assert_ptr_equal(xbdev_device_find(dw->w.ctx, "r"), dev);
	/* And back: what nobody had said is no difference. */
	assert_ptr_equal(must_parse(dw, "addr", "nqn", ""), dev);
}

static void test_remote_device_is_made_again_when_it_differs(void **state)
{
	struct document_world *dw = *state;
	const struct xbdev_device *dev;
	struct sim_bdev bdev;
	char block[4096];

	must_parse(dw, "addr", "nqn", "");
	assert_int_equal(sim_bdev_open(dw->w.sim, dw->w.ctx, "r", 0, &bdev, NULL), 0);
	assert_int_equal(parse(dw, "addr", "nqn", ", 'ddgst': true"), -EBUSY);
	assert_non_null(strstr(dw->err.text, "base_devices[0].params.data_digest: 'r' cannot be "
					     "changed in this while it is in use"));
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_READ, 0, 0, block, sizeof(block)), 0);
	sim_bdev_close(&bdev);
	dev = must_parse(dw, "addr", "nqn", ", 'ddgst': true");
	assert_ptr_equal(must_parse(dw, "addr", "nqn", ", 'data_digest': true"), dev);
	assert_int_equal(carry_out(dw, "{}"), 0);
	assert_null(xbdev_device_find(dw->w.ctx, "r"));
}

/* A device of the program's that says the same, as far as the document says anything. */
static void test_remote_device_of_the_program_may_be_in_a_document(void **state)
{
	struct document_world *dw = *state;
	const struct xbdev_device *dev = world_attach(&dw->w, "");

	assert_ptr_equal(must_parse(dw, "addr", "nqn", ""), dev);
	assert_int_equal(parse(dw, "addr", "nqn", ", 'hdgst': true"), -EEXIST);
	assert_int_equal(carry_out(dw, "{}"), 0);
	assert_ptr_equal(xbdev_device_find(dw->w.ctx, "r"), dev);
}

#define host_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_remote_device_is_the_same_in_other_words),
		host_test(test_remote_device_is_made_again_when_it_differs),
		host_test(test_remote_device_of_the_program_may_be_in_a_document),
	};

	return cmocka_run_group_tests_name("xnvmf_host_document", tests, NULL, NULL);
}
