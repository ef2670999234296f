/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * md-make DIR COMMAND...: RAID arrays of lib/xbdev/raid on the files DIR/m0.img, m1.img, …, for
 * test-md-ours.sh, which shows them to Linux and takes back what Linux has made of them. Commands
 * run one after the other; the first that fails ends the program with a sentence and exit code 1.
 *
 *   create LEVEL LAYOUT CHUNK_KIB MEMBERS SPARES BITMAP
 *                                 of the first images; LAYOUT "-": none or the default; BITMAP
 *                                 "none", "default" or the bytes of its chunks, or "ppl" or
 *                                 "journal" for these instead; a resync begins
 *   assemble all|I,J…             starts the array of all images or of those
 *   refuse WORDS all|I,J…         assembly must fail with a sentence that has the WORDS
 *   write SEED FIRST_KIB KIB      the pattern of guest/md-pattern.c; KIB "rest": to the end
 *   verify SEED FIRST_KIB KIB     it must be there
 *   either SEED SEED FIRST_KIB KIB    every sector must be of one of the two
 *   fail I, remove I, add I, replace I J    image I, by image J
 *   pause, go                     resync and recovery
 *   speed KIB_PER_S               their limit
 *   until KIB                     waits until the running one has done that much, of each member
 *   wait                          waits until none runs and every member is in sync
 *   check                         reads and compares everything; prints "mismatch SECTORS"
 *   degraded N                    so many members must be missing
 *   size                          prints "size KIB"
 *   stop                          the array is taken down, and the disks say clean
 *   crash SEED FIRST_KIB KIB      writes with many I/Os in flight and ends the process amid them;
 *                                 prints "crash ACKNOWLEDGED_KIB SUBMITTED_KIB", below and from
 *                                 where on it is known what there is
 */
#include <ctype.h>
#include <unistd.h>

#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MAX_IMAGES 32u
#define STEP_BYTES (256u * 1024)
#define KIB        1024u
#define PATIENCE_S 60u
#define NR_FLIGHTS 16u
#define FLIGHT     (20u * KIB) /* not a divisor of chunks: some writes cross from one to the next */

#define DIE(...)                                                                                   \
	do {                                                                                       \
		fprintf(stderr, "md-make: " __VA_ARGS__);                                          \
		fprintf(stderr, "\n");                                                             \
		fflush(NULL);                                                                      \
		_exit(1);                                                                          \
	} while (0)

struct make {
	struct harness h;
	const char *dir;
	char names[MAX_IMAGES][16];
	struct xbdev_device *dev; /* NULL: no array runs */
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

/* What was asked for asynchronously has come. */
struct answer {
	bool is_done;
	struct xbdev_device *dev;
	struct xu_error err;
	struct xbdev_md_info info;
};

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!isdigit((unsigned char)*text) || *end != '\0') {
		DIE("'%s' is no number", text);
	}
	return value;
}

/* ---- images ---- */

/* The device of an image; opens it at its first use. */
static const char *image(struct make *m, const char *index_text)
{
	uint64_t index = number(index_text);

	if (index >= MAX_IMAGES) {
		DIE("image %s: there are %u at most", index_text, MAX_IMAGES);
	}
	if (m->names[index][0] == '\0') {
		snprintf(m->names[index], sizeof(m->names[index]), "m%u", (unsigned)index);
		harness_create(&m->h, "file",
			"{'name':'m%u','filename':'%s/m%u.img','block_size':512}", (unsigned)index,
			m->dir, (unsigned)index);
	}
	return m->names[index];
}

/* The devices of "all" or of a list; returns how many. */
static uint32_t images(struct make *m, const char *which, const char *ret_names[MAX_IMAGES])
{
	char path[4096], index[16];
	uint32_t nr = 0;

	for (uint32_t i = 0; i < MAX_IMAGES && strcmp(which, "all") == 0; i++) {
		snprintf(path, sizeof(path), "%s/m%u.img", m->dir, i);
		snprintf(index, sizeof(index), "%u", i);
		if (access(path, F_OK) == 0) {
			ret_names[nr++] = image(m, index);
		}
	}
	while (strcmp(which, "all") != 0 && *which != '\0' && nr < MAX_IMAGES) {
		size_t len = strcspn(which, ",");

		snprintf(index, sizeof(index), "%.*s", (int)len, which);
		ret_names[nr++] = image(m, index);
		which += which[len] == ',' ? len + 1 : len;
	}
	return nr;
}

/* ---- arrays ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct answer *answer = arg;

	answer->dev = dev;
	if (dev == NULL) {
		answer->err = *err;
	}
	answer->is_done = true;
}

static void use(struct make *m, const struct answer *answer)
{
	if (answer->dev == NULL) {
		DIE("%s", answer->err.text);
	}
	m->dev = answer->dev;
	m->desc = harness_open(&m->h, "md0", true);
	m->ch = harness_channel(&m->h, m->desc, 0);
}

static void do_create(struct make *m, char **args)
{
	const char *names[MAX_IMAGES];
	bool has_ppl = strcmp(args[5], "ppl") == 0, has_journal = strcmp(args[5], "journal") == 0;
	struct answer answer = {0};
	struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = strcmp(args[0], "linear") == 0 ? -1 : (int32_t)number(args[0]),
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = number(args[2]) * KIB,
		.members = names,
		.nr_members = (uint32_t)number(args[3]),
		.nr_spares = (uint32_t)number(args[4]),
		.bitmap_chunk_bytes = has_ppl || has_journal || strcmp(args[5], "none") == 0 ? 0
				      : strcmp(args[5], "default") == 0 ? UINT32_MAX
									: (uint32_t)number(args[5]),
		.policy = has_ppl       ? XBDEV_MD_POLICY_PPL
			  : has_journal ? XBDEV_MD_POLICY_JOURNAL
					: XBDEV_MD_POLICY_RESYNC,
		.set_name = "host:ours",
	};

	if (strcmp(args[1], "-") != 0 &&
		xbdev__md_layout_parse(opts.level, args[1], &opts.layout, &answer.err) != 0) {
		DIE("%s", answer.err.text);
	}
	if (opts.nr_members + opts.nr_spares > MAX_IMAGES) {
		DIE("%u images at most", MAX_IMAGES);
	}
	for (uint32_t i = 0; i < opts.nr_members + opts.nr_spares; i++) {
		char index[16];

		snprintf(index, sizeof(index), "%u", i);
		names[i] = image(m, index);
	}
	xbdev__md_create(m->h.ctx, &opts, on_made, &answer);
	harness_wait(&m->h, answer.is_done);
	use(m, &answer);
}

static void assemble(struct make *m, const char *which, struct answer *ret_answer)
{
	const char *names[MAX_IMAGES];
	struct xbdev_md_assemble_opts opts = {
		.name = "md0",
		.level = XBDEV_MD_LEVEL_ANY,
		.members = names,
		.nr_members = images(m, which, names),
	};

	*ret_answer = (struct answer){0};
	xbdev__md_assemble(m->h.ctx, &opts, on_made, ret_answer);
	harness_wait(&m->h, ret_answer->is_done);
}

static void do_assemble(struct make *m, char **args)
{
	struct answer answer;

	assemble(m, args[0], &answer);
	use(m, &answer);
}

static void do_refuse(struct make *m, char **args)
{
	struct answer answer;

	assemble(m, args[1], &answer);
	if (answer.dev != NULL || strstr(answer.err.text, args[0]) == NULL) {
		DIE("assembly gave '%s' and not '… %s …'",
			answer.dev != NULL ? "an array" : answer.err.text, args[0]);
	}
}

static void do_stop(struct make *m, char **args)
{
	harness_put(&m->h, m->ch);
	xbdev_desc_close(m->desc);
	harness_remove(&m->h, m->dev);
	m->dev = NULL;
}

static void on_info(void *arg, const struct xbdev_md_info *info)
{
	struct answer *answer = arg;

	MUST(info != NULL);
	answer->info = *info;
	answer->is_done = true;
}

static void look(struct make *m, struct answer *ret_answer)
{
	ret_answer->is_done = false;
	xbdev__md_info_get(m->dev, on_info, ret_answer);
	harness_wait(&m->h, ret_answer->is_done);
}

/* Other waits happen within it, so it has a bound of its own. */
static void look_again(struct make *m, struct answer *ret_answer, uint64_t deadline_ns)
{
	if (xu_clock_now_ns(xu_clock_system()) > deadline_ns) {
		DIE("after %u s: %s at %llu of %llu sectors, %u members are missing", PATIENCE_S,
			ret_answer->info.sync_action,
			(unsigned long long)ret_answer->info.sync_done,
			(unsigned long long)ret_answer->info.sync_total,
			ret_answer->info.nr_degraded);
	}
	harness_poll(&m->h);
	look(m, ret_answer);
}

static uint64_t deadline(void)
{
	return xu_clock_now_ns(xu_clock_system()) + PATIENCE_S * XU_NS_PER_S;
}

/* ---- commands to it ---- */

static void on_managed(void *arg, const struct xu_error *err)
{
	struct answer *answer = arg;

	if (err != NULL) {
		answer->err = *err;
	}
	answer->is_done = true;
}

static void manage(struct make *m, const struct xbdev_md_command *command)
{
	struct answer answer = {0};

	xbdev__md_manage(m->dev, command, on_managed, &answer);
	harness_wait(&m->h, answer.is_done);
	if (answer.err.code != 0) {
		DIE("%s", answer.err.text);
	}
}

static void do_fail(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){
			  .kind = XBDEV_MD_COMMAND_FAIL, .device = image(m, args[0])});
}

static void do_remove(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){
			  .kind = XBDEV_MD_COMMAND_REMOVE, .device = image(m, args[0])});
	/* It is given back a moment later. */
	harness_wait(&m->h, xbdev_device_find(m->h.ctx, image(m, args[0]))->claim == NULL);
}

static void do_add(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){
			  .kind = XBDEV_MD_COMMAND_ADD, .device = image(m, args[0])});
}

static void do_replace(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){
			  .kind = XBDEV_MD_COMMAND_REPLACE,
			  .device = image(m, args[0]),
			  .new_device = image(m, args[1]),
		  });
}

static void do_pause(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SYNC_STOP});
}

static void do_go(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SYNC_START});
}

static void do_speed(struct make *m, char **args)
{
	manage(m, &(struct xbdev_md_command){
			  .kind = XBDEV_MD_COMMAND_SPEED,
			  .speed_min_kib = number(args[0]),
			  .speed_max_kib = number(args[0]),
		  });
}

static bool is_idle(const struct xbdev_md_info *info)
{
	return strcmp(info->sync_action, "idle") == 0;
}

static void do_until(struct make *m, char **args)
{
	struct answer answer = {0};
	uint64_t deadline_ns = deadline();

	do {
		look_again(m, &answer, deadline_ns);
		if (is_idle(&answer.info)) {
			DIE("until %s: neither resync nor recovery runs", args[0]);
		}
	} while (answer.info.sync_done / 2 < number(args[0]));
}

static bool is_whole(const struct xbdev_md_info *info)
{
	for (uint32_t i = 0; i < info->nr_disks; i++) {
		if (info->disks[i].state == XBDEV_MD_DISK_IS_RECOVERING) {
			return false;
		}
	}
	return info->nr_degraded == 0;
}

static void wait_idle(struct make *m, bool must_be_whole)
{
	struct answer answer = {0};
	uint64_t deadline_ns = deadline();

	do {
		look_again(m, &answer, deadline_ns);
	} while (!is_idle(&answer.info) || (must_be_whole && !is_whole(&answer.info)));
}

static void do_wait(struct make *m, char **args)
{
	wait_idle(m, true);
}

static void do_check(struct make *m, char **args)
{
	struct answer answer = {0};

	wait_idle(m, false);
	manage(m, &(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_CHECK});
	wait_idle(m, false);
	look(m, &answer);
	printf("mismatch %llu\n", (unsigned long long)answer.info.mismatch_sectors);
}

static void do_degraded(struct make *m, char **args)
{
	struct answer answer = {0};

	look(m, &answer);
	if (answer.info.nr_degraded != number(args[0])) {
		DIE("%u members are missing, not %s", answer.info.nr_degraded, args[0]);
	}
}

static void do_size(struct make *m, char **args)
{
	printf("size %llu\n", (unsigned long long)(xbdev_device_size_bytes(m->dev) / KIB));
}

/* ---- content ---- */

struct range {
	uint64_t start, end; /* bytes */
};

static struct range range_of(const struct make *m, char **args)
{
	struct range range = {.start = number(args[0]) * KIB};
	uint64_t size = xbdev_device_size_bytes(m->dev);

	range.end = strcmp(args[1], "rest") == 0 ? size : range.start + number(args[1]) * KIB;
	if (range.start > range.end || range.end > size) {
		DIE("the array has %llu KiB, so there are not %s from %s on",
			(unsigned long long)(size / KIB), args[1], args[0]);
	}
	return range;
}

static uint64_t step_at(const struct range *range, uint64_t at)
{
	return range->end - at < STEP_BYTES ? range->end - at : STEP_BYTES;
}

static void do_write(struct make *m, char **args)
{
	struct range range = range_of(m, args + 1);
	char *buf = malloc(STEP_BYTES);

	MUST(buf != NULL);
	for (uint64_t at = range.start; at < range.end; at += STEP_BYTES) {
		uint64_t len = step_at(&range, at);
		int rc;

		md_fixture_pattern(number(args[0]), at, buf, len);
		rc = harness_io(&m->h, m->ch, XBDEV_OP_WRITE, at, buf, len, 0);
		if (rc != 0) {
			DIE("write at %llu: %s", (unsigned long long)at, strerror(-rc));
		}
	}
	free(buf);
}

static void verify(struct make *m, uint64_t seed, uint64_t other, struct range range)
{
	char *buf = malloc(STEP_BYTES);
	char wanted[512];

	MUST(buf != NULL);
	for (uint64_t at = range.start; at < range.end; at += STEP_BYTES) {
		uint64_t len = step_at(&range, at);
		int rc = harness_io(&m->h, m->ch, XBDEV_OP_READ, at, buf, len, 0);

		if (rc != 0) {
			DIE("read at %llu: %s", (unsigned long long)at, strerror(-rc));
		}
		for (uint64_t i = 0; i < len; i += 512) {
			md_fixture_pattern(seed, at + i, wanted, 512);
			if (memcmp(buf + i, wanted, 512) == 0) {
				continue;
			}
			md_fixture_pattern(other, at + i, wanted, 512);
			if (memcmp(buf + i, wanted, 512) != 0) {
				DIE("not the pattern of seed %llu at byte %llu",
					(unsigned long long)seed, (unsigned long long)(at + i));
			}
		}
	}
	free(buf);
}

static void do_verify(struct make *m, char **args)
{
	verify(m, number(args[0]), number(args[0]), range_of(m, args + 1));
}

static void do_either(struct make *m, char **args)
{
	verify(m, number(args[0]), number(args[1]), range_of(m, args + 2));
}

/* ---- the crash ---- */

/* The lowest byte that has not been acknowledged. */
static uint64_t acknowledged(const struct harness_io *flights, uint64_t next)
{
	for (uint32_t i = 0; i < NR_FLIGHTS; i++) {
		if (flights[i].nr_done == 0 && flights[i].io.offset < next) {
			next = flights[i].io.offset;
		}
	}
	return next;
}

/* One more write, in a slot whose last one has ended. */
static uint64_t launch(struct make *m, struct harness_io *hio, char *buf, uint64_t seed,
	uint64_t next, const struct range *range)
{
	uint64_t len = range->end - next < FLIGHT ? range->end - next : FLIGHT;

	md_fixture_pattern(seed, next, buf, len);
	harness_io_set(hio, m->ch, XBDEV_OP_WRITE, next, buf, len);
	if (xbdev_io_submit(&hio->io) != 0) {
		DIE("crash: a write was refused");
	}
	return next + len;
}

static void do_crash(struct make *m, char **args)
{
	struct harness_io flights[NR_FLIGHTS];
	struct range range = range_of(m, args + 1);
	char *buf = malloc((size_t)NR_FLIGHTS * FLIGHT);
	uint64_t next = range.start, middle = range.start + (range.end - range.start) / 2;

	MUST(buf != NULL);
	for (uint32_t i = 0; i < NR_FLIGHTS; i++) {
		flights[i].nr_done = 1;
		flights[i].status = 0;
	}
	harness__wait_begin(&m->h);
	while (acknowledged(flights, next) < middle) {
		for (uint32_t i = 0; i < NR_FLIGHTS && next < range.end; i++) {
			if (flights[i].nr_done == 0) {
				continue;
			}
			if (flights[i].status != 0) {
				DIE("crash: a write gave %s", strerror(-flights[i].status));
			}
			next = launch(m, &flights[i], buf + (size_t)i * FLIGHT, number(args[0]),
				next, &range);
		}
		harness__wait_step(&m->h, "half of the writes", __FILE__, __LINE__);
	}
	printf("crash %llu %llu\n", (unsigned long long)(acknowledged(flights, next) / KIB),
		(unsigned long long)(next / KIB));
	fflush(stdout);
	_exit(0);
}

/* ---- the program ---- */

static const struct command {
	const char *name;
	int nr_args;
	bool needs_array;
	void (*run)(struct make *m, char **args);
} commands[] = {
	{"create", 6, false, do_create},
	{"assemble", 1, false, do_assemble},
	{"refuse", 2, false, do_refuse},
	{"write", 3, true, do_write},
	{"verify", 3, true, do_verify},
	{"either", 4, true, do_either},
	{"fail", 1, true, do_fail},
	{"remove", 1, true, do_remove},
	{"add", 1, true, do_add},
	{"replace", 2, true, do_replace},
	{"pause", 0, true, do_pause},
	{"go", 0, true, do_go},
	{"speed", 1, true, do_speed},
	{"until", 1, true, do_until},
	{"wait", 0, true, do_wait},
	{"check", 0, true, do_check},
	{"degraded", 1, true, do_degraded},
	{"size", 0, true, do_size},
	{"stop", 0, true, do_stop},
	{"crash", 3, true, do_crash},
};

/* Runs the command at args; returns how many words it took. */
static int run(struct make *m, char **args, int nr_args)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];

		if (strcmp(args[0], command->name) != 0) {
			continue;
		}
		if (nr_args <= command->nr_args) {
			DIE("%s takes %d words", command->name, command->nr_args);
		}
		if (command->needs_array != (m->dev != NULL)) {
			DIE("%s: %s array runs", command->name, m->dev != NULL ? "an" : "no");
		}
		command->run(m, args + 1);
		return command->nr_args + 1;
	}
	DIE("there is no command '%s'", args[0]);
}

int main(int argc, char **argv)
{
	struct make m = {0};

	if (argc < 3) {
		fprintf(stderr,
			"usage: md-make DIR COMMAND...; the file's head has the commands\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	m.dir = argv[1];
	harness_start(&m.h, 1, 1);
	for (int i = 2; i < argc;) {
		i += run(&m, argv + i, argc - i);
	}
	if (m.dev != NULL) {
		do_stop(&m, NULL);
	}
	harness_stop(&m.h);
	return 0;
}
