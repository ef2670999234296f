/* SPDX-License-Identifier: BSD-3-Clause */
/* Sparse images against a flat array, and clones that must not see each other's writes. */
#include "test/sim/sim_image.h"

#include "lib/util/random.h"
#include "test/unit/util/test.h"

#define SIZE (5u * 1024 * 1024 + 1536) /* three leaves, the last page is not whole */

static void check_equal(const struct sim_image *image, const char *model, size_t size)
{
	char *content = malloc(size);

	assert_non_null(content);
	sim_image_read(image, 0, content, size);
	assert_memory_equal(content, model, size);
	free(content);
}

/* One random change, to the image and to the array. */
static void change(struct sim_image *image, char *model, struct xu_random *random)
{
	static char data[20000];
	size_t len = 1 + xu_random_below(random, sizeof(data));
	size_t offset = xu_random_below(random, SIZE - len);

	switch (xu_random_below(random, 4)) {
	case 0:
		sim_image_zero(image, offset, len, true);
		memset(model + offset, 0, len);
		break;
	case 1:
		sim_image_zero(image, offset, len, false);
		memset(model + offset, 0, len);
		break;
	default:
		xu_random_bytes(random, data, len);
		sim_image_write(image, offset, data, len);
		memcpy(model + offset, data, len);
		break;
	}
}

static void test_image_is_an_array(void **state)
{
	struct sim_image *image = sim_image_new(SIZE), *clone;
	char *model = calloc(1, SIZE), *cloned = malloc(SIZE);
	struct xu_random random;

	assert_true(model != NULL && cloned != NULL);
	xu_random_seed(&random, 1);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 40; i++) {
			change(image, model, &random);
		}
		check_equal(image, model, SIZE);
		clone = sim_image_clone(image);
		memcpy(cloned, model, SIZE);
		assert_int_equal(sim_image_hash(clone), sim_image_hash(image));
		for (int i = 0; i < 10; i++) {
			change(round % 2 ? clone : image, round % 2 ? cloned : model, &random);
		}
		assert_int_not_equal(sim_image_hash(clone), sim_image_hash(image));
		check_equal(image, model, SIZE);
		check_equal(clone, cloned, SIZE);
		sim_image_free(clone);
	}
	sim_image_free(image);
	free(model);
	free(cloned);
}

static void test_image_counts_pages(void **state)
{
	struct sim_image *image = sim_image_new(1ull << 44);
	char page[SIM_IMAGE_PAGE] = {1};
	uint64_t empty = sim_image_hash(image), far = (1ull << 44) - SIM_IMAGE_PAGE;

	sim_image_write(image, far, page, sizeof(page));
	sim_image_write(image, 100, page, 1);
	assert_int_equal(sim_image_nr_pages(image), 2);
	assert_int_equal(sim_image_missing_pages(image, 0, 3 * SIM_IMAGE_PAGE), 2);
	sim_image_zero(image, 0, 4095, true); /* not a whole page: it stays */
	assert_int_equal(sim_image_nr_pages(image), 2);
	sim_image_zero(image, 0, 1ull << 44, true);
	assert_int_equal(sim_image_nr_pages(image), 0);
	sim_image_zero(image, 0, 8192, false);
	assert_int_equal(sim_image_nr_pages(image), 2);
	assert_int_equal(sim_image_hash(image), empty); /* zeroes are zeroes, allocated or not */
	sim_image_free(image);
}

static void test_image_shrunk_and_grown_reads_zeroes(void **state)
{
	static const uint64_t sizes[] = {0, 1, 511, 4096, 4097, 2u << 20, (2u << 20) + 1, SIZE - 1};
	char *model = malloc(SIZE);

	assert_non_null(model);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct sim_image *image = sim_image_new(SIZE);

		memset(model, 7, SIZE);
		sim_image_write(image, 0, model, SIZE);
		sim_image_resize(image, sizes[i]);
		assert_int_equal(sim_image_size(image), sizes[i]);
		assert_int_equal(sim_image_nr_pages(image),
			(sizes[i] + SIM_IMAGE_PAGE - 1) / SIM_IMAGE_PAGE);
		memset(model + sizes[i], 0, SIZE - sizes[i]);
		check_equal(image, model, SIZE); /* beyond the end */
		sim_image_resize(image, SIZE);
		check_equal(image, model, SIZE);
		sim_image_free(image);
	}
	free(model);
}

static void write_past_the_end(void *arg)
{
	sim_image_write(arg, 4095, "ab", 2);
}

static void test_image_write_past_the_end_is_a_mistake(void **state)
{
	struct sim_image *image = sim_image_new(4096);

	assert_true(test_aborts(write_past_the_end, image));
	sim_image_free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image_is_an_array),
		cmocka_unit_test(test_image_counts_pages),
		cmocka_unit_test(test_image_shrunk_and_grown_reads_zeroes),
		cmocka_unit_test(test_image_write_past_the_end_is_a_mistake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
