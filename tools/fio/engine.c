/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An I/O engine for fio: its jobs' files are devices of libxbdev, named as in tools/common/device.h
 * (a colon within a name is written \: for fio). A job is a thread with a queue of its own, and
 * each of its I/O units has a request; completions are taken in getevents(), where they become
 * events.
 *
 * The library runs once in a process, so jobs are threads (thread=1) and not processes. fio sets
 * all jobs up in its first thread, one after the other: the first one starts the library and makes
 * the devices; the last one that is cleaned up, in whatever thread, ends it.
 *
 *   fio --ioengine=external:/usr/lib/fio/xbdev-fio.so --thread --filename=malloc\\:1GiB ...
 *
 * Built with the headers of the fio that is to load it: meson setup -Dfio=DIR, where DIR is fio's
 * source after ./configure; scripts/fio-source.sh gets that.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <xbdev/xbdev.h>

#include "fio.h"
#include "optgroup.h"

#include "common/device.h"
#include "common/tool.h"

struct job {
	struct io_u **events; /* completed and not taken */
	unsigned int nr_events;
};

struct job_options {
	void *pad; /* fio: the first word is its own */
	char *config;
};

static struct fio_option options[] = {
	{
		.name = "xbdev_config",
		.lname = "libxbdev configuration",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct job_options, config),
		.help = "File with devices, in libxbdev's or xsand's manner",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{.name = NULL},
};

/* Of the process. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned int nr_jobs; /* set up and not cleaned up */
static unsigned int queue_depth;
static char *config_path; /* whose devices are there */

/* ---- the library ---- */

static bool load_config(const char *path)
{
	if (path == NULL || (config_path != NULL && strcmp(path, config_path) == 0)) {
		return true;
	}
	if (config_path != NULL) {
		log_err("xbdev: one configuration at a time: %s is loaded, not %s\n", config_path,
			path);
		return false;
	}
	if (!tool_config_load(path)) {
		return false;
	}
	config_path = strdup(path);
	return config_path != NULL;
}

/* A queue for each job, as deep as the deepest. */
static bool set_depth(unsigned int depth)
{
	if (depth > queue_depth) {
		queue_depth = depth;
		if (xbdev_queue_init(depth, 4096) != 0) {
			log_err("xbdev: %s\n", xbdev_last_error());
			return false;
		}
	}
	return true;
}

static void let_go(void)
{
	if (xbdev_fini() != 0) {
		log_err("xbdev: %s\n", xbdev_last_error());
	}
	pthread_mutex_lock(&mutex);
	if (--nr_jobs == 0) {
		free(config_path);
		config_path = NULL;
		queue_depth = 0;
	}
	pthread_mutex_unlock(&mutex);
}

/* ---- jobs ---- */

static bool open_files(struct thread_data *td)
{
	struct fio_file *file;
	unsigned int i;

	for_each_file(td, file, i)
	{
		xbdev_info_t info;
		int fd;

		if (!tool_device_open(file->file_name,
			    td_write(td) || td_trim(td) ? XBDEV_OPEN_READWRITE : XBDEV_OPEN_READ,
			    &fd, &info)) {
			return false;
		}
		FILE_SET_ENG_DATA(file, (void *)(uintptr_t)(fd + 1)); /* 0: not open */
		file->filetype = FIO_TYPE_BLOCK;
		file->real_file_size = info.size_bytes;
		fio_file_set_size_known(file);
	}
	return true;
}

static int fd_of(const struct fio_file *file)
{
	return (int)(uintptr_t)FILE_ENG_DATA(file) - 1;
}

static int setup(struct thread_data *td)
{
	const struct job_options *opts = td->eo;
	bool is_ready;

	if (!td->o.use_thread) {
		log_err("xbdev: the library runs once in a process: give --thread (thread=1)\n");
		return 1;
	}
	tool_name = "xbdev";
	if (xbdev_init() != 0) {
		log_err("xbdev: %s\n", xbdev_last_error());
		return 1;
	}
	pthread_mutex_lock(&mutex);
	nr_jobs++;
	is_ready = load_config(opts->config) && set_depth(td->o.iodepth) && open_files(td);
	pthread_mutex_unlock(&mutex);
	return is_ready ? 0 : 1;
}

static int init(struct thread_data *td)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job != NULL) {
		job->events = calloc(td->o.iodepth, sizeof(job->events[0]));
	}
	if (job == NULL || job->events == NULL) {
		free(job);
		log_err("xbdev: out of memory\n");
		return 1;
	}
	td->io_ops_data = job;
	return 0;
}

static void cleanup(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	struct fio_file *file;
	unsigned int i;

	for_each_file(td, file, i)
	{
		if (fd_of(file) >= 0) {
			xbdev_close(fd_of(file));
			FILE_SET_ENG_DATA(file, NULL);
		}
	}
	if (job != NULL) {
		free(job->events);
		free(job);
		td->io_ops_data = NULL;
	}
	let_go();
}

/* The files are open from the beginning to the end. */
static int open_file(struct thread_data *td, struct fio_file *file)
{
	return 0;
}

static int close_file(struct thread_data *td, struct fio_file *file)
{
	return 0;
}

/* ---- I/O ---- */

static int io_u_init(struct thread_data *td, struct io_u *io_u)
{
	io_u->engine_data = xbdev_request_alloc();
	return io_u->engine_data != NULL ? 0 : 1;
}

static void io_u_free(struct thread_data *td, struct io_u *io_u)
{
	xbdev_request_free(io_u->engine_data);
	io_u->engine_data = NULL;
}

static __thread struct job *current;

static void on_done(xbdev_request_t *req, int result, void *arg)
{
	struct io_u *io_u = arg;

	io_u->error = result < 0 ? (unsigned int)-result : 0;
	current->events[current->nr_events++] = io_u;
}

static int op_of(enum fio_ddir ddir)
{
	switch (ddir) {
	case DDIR_READ:
		return XBDEV_OP_READ;
	case DDIR_WRITE:
		return XBDEV_OP_WRITE;
	case DDIR_TRIM:
		return XBDEV_OP_DISCARD;
	default:
		return XBDEV_OP_FLUSH;
	}
}

static enum fio_q_status queue(struct thread_data *td, struct io_u *io_u)
{
	xbdev_request_t *req = io_u->engine_data;
	int rc;

	fio_ro_check(td, io_u);
	req->op_type = op_of(io_u->ddir);
	req->fd = fd_of(io_u->file);
	req->buf = io_u->xfer_buf;
	req->count = ddir_sync(io_u->ddir) ? 0 : io_u->xfer_buflen;
	req->offset = ddir_sync(io_u->ddir) ? 0 : io_u->offset;
	req->user_cb = on_done;
	req->user_arg = io_u;
	rc = xbdev_request_submit(req);
	if (rc == -EAGAIN) {
		return FIO_Q_BUSY;
	}
	if (rc != 0) {
		io_u->error = (unsigned int)-rc;
		return FIO_Q_COMPLETED;
	}
	return FIO_Q_QUEUED;
}

static int getevents(
	struct thread_data *td, unsigned int min, unsigned int max, const struct timespec *timeout)
{
	uint64_t wait_us = timeout != NULL ? (uint64_t)timeout->tv_sec * 1000000 +
						     (uint64_t)timeout->tv_nsec / 1000
					   : UINT64_MAX;

	current = td->io_ops_data;
	current->nr_events = 0;
	do {
		int rc = xbdev_poll_completions(
			max - current->nr_events, current->nr_events < min ? wait_us : 0);

		if (rc < 0) {
			return rc;
		}
		if (rc == 0 && (min == 0 || timeout != NULL)) {
			break;
		}
	} while (current->nr_events < min);
	return (int)current->nr_events;
}

static struct io_u *event(struct thread_data *td, int i)
{
	const struct job *job = td->io_ops_data;

	return job->events[i];
}

struct ioengine_ops ioengine = {
	.name = "xbdev",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_RAWIO | FIO_NOEXTEND | FIO_NODISKUTIL,
	.setup = setup,
	.init = init,
	.queue = queue,
	.getevents = getevents,
	.event = event,
	.cleanup = cleanup,
	.open_file = open_file,
	.close_file = close_file,
	.io_u_init = io_u_init,
	.io_u_free = io_u_free,
	.option_struct_size = sizeof(struct job_options),
	.options = options,
};
