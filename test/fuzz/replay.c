/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzzer's corpus without libFuzzer, in any build: every file of the directories (or the
 * files) that are named. A finding ends the program as it would end the fuzzer; the last line
 * before it is the file's name. No input at all is a failure too.
 */
#include <dirent.h>
#include <errno.h>

#include "test/fuzz/fuzz.h"

#define INPUT_MAX (16u << 20)
#define PATH_MAX_ 4096u

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint32_t nr_run;

static void fail(const char *path)
{
	fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
	exit(1);
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX), *exact;
	size_t size;

	if (file == NULL || data == NULL) {
		fail(path);
	}
	size = fread(data, 1, INPUT_MAX, file);
	if (ferror(file)) {
		fail(path);
	}
	fclose(file);
	exact = malloc(size != 0 ? size : 1); /* so that a sanitizer sees a read past the end */
	if (exact == NULL) {
		fail(path);
	}
	memcpy(exact, data, size);
	free(data);
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	nr_run++;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_path(const char *path)
{
	struct dirent **entries;
	char inner[PATH_MAX_];
	int count = scandir(path, &entries, is_visible, alphasort);

	if (count < 0 && errno == ENOTDIR) {
		run_file(path);
		return;
	}
	if (count < 0) {
		fail(path);
	}
	for (int i = 0; i < count; i++) {
		snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
		run_file(inner);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize != NULL) {
		LLVMFuzzerInitialize(&argc, &argv);
	}
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') { /* an option of libFuzzer's */
			run_path(argv[i]);
		}
	}
	printf("%u inputs\n", nr_run);
	return nr_run != 0 ? 0 : 1;
}
