/* SPDX-License-Identifier: BSD-3-Clause */
/* More is wanted of one stripe at a time than there are entries for: all of it is done. */
#include "lib/xbdev/raid/raid.h"
#include "lib/xbdev/raid/stripe.h"
#include "test/unit/xbdev/harness.h"

#define NR_REACTORS 3u /* each lets through 1024 at a time */
#define NR_MEMBERS  24u
#define NR_IOS      (XBDEV_MD_NR_ENTRIES + 500u)

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		fail_msg("%s", err->text);
	}
	*(struct xbdev_device **)arg = dev;
}

static uint32_t nr_done(const struct harness_io *ios)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < NR_IOS; i++) {
		nr += ios[i].nr_done;
	}
	return nr;
}

/* One sector each, all of the first stripe. */
static void do_all(struct harness *h, struct xbdev_channel **chs, enum xbdev_op op, char *content)
{
	static struct harness_io ios[NR_IOS];

	memset(ios, 0, sizeof(ios));
	for (uint32_t i = 0; i < NR_IOS; i++) {
		harness_io_set(&ios[i], chs[i % NR_REACTORS], op, i * 512, content + i * 512, 512);
		assert_int_equal(xbdev_io_submit(&ios[i].io), 0);
	}
	harness_wait(h, nr_done(ios) == NR_IOS);
	for (uint32_t i = 0; i < NR_IOS; i++) {
		assert_int_equal(ios[i].status, 0);
	}
}

static void test_more_than_there_are_entries_for(void **state)
{
	static char content[NR_IOS * 512], got[NR_IOS * 512];
	const char *names[NR_MEMBERS];
	char texts[NR_MEMBERS][8];
	struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 5,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = 65536,
		.members = names,
		.nr_members = NR_MEMBERS,
		.assume_clean = true,
	};
	struct xbdev_device *dev = NULL;
	struct xbdev_desc *desc;
	struct xbdev_channel *chs[NR_REACTORS];
	struct harness h;

	harness_start(&h, NR_REACTORS, NR_REACTORS);
	for (uint32_t i = 0; i < NR_MEMBERS; i++) {
		snprintf(texts[i], sizeof(texts[i]), "m%u", i);
		names[i] = texts[i];
		harness_create(&h, "malloc", "{'name':'m%u','size':2097152,'block_size':512}", i);
	}
	/* Without the first member, reads of what it held wait for the stripe too. */
	names[0] = XBDEV_MD_MISSING;
	xbdev__md_create(h.ctx, &opts, on_made, &dev);
	harness_wait(&h, dev != NULL);
	desc = harness_open(&h, "md0", true);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		chs[i] = harness_channel(&h, desc, i);
	}
	harness_fill(content, sizeof(content), 1);
	do_all(&h, chs, XBDEV_OP_WRITE, content);
	do_all(&h, chs, XBDEV_OP_READ, got);
	assert_memory_equal(got, content, sizeof(content));
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		harness_put(&h, chs[i]);
	}
	xbdev_desc_close(desc);
	harness_remove(&h, dev);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_more_than_there_are_entries_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
