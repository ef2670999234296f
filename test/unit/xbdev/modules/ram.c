/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A module as somebody else would write it, with nothing but the public header: memory, served by a
 * thread of the module's own. The device grows by a mebibyte at a write to its first block that
 * begins with "grow".
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/module.h>

#ifndef RAM_ABI
#define RAM_ABI XBDEV_MODULE_ABI
#endif

struct ram {
	struct xbdev_module_device *device;
	char *memory;
	uint64_t size;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct xbdev_module_io *first, **end;
	bool must_stop;
};

static const struct xbdev_module_host *host;

enum { PARAM_SIZE, PARAM_LABEL, PARAM_FAIL };

static const struct xbdev_module_param params[] = {
	[PARAM_SIZE] = {"size", XBDEV_MODULE_SIZE, .is_required = true,
		.help = "size of the device"},
	[PARAM_LABEL] = {"label", XBDEV_MODULE_STRING, .otherwise = {.string = "none"},
		.help = "any text (default none)"},
	[PARAM_FAIL] = {"fail", XBDEV_MODULE_BOOL, .help = "refuse to open (default false)"},
	{0},
};

static int ram_load(const struct xbdev_module_host *given)
{
	host = given;
	return host->abi == XBDEV_MODULE_ABI ? 0 : -EINVAL;
}

static int serve(struct ram *ram, struct xbdev_module_io *io)
{
	uint64_t at = io->offset;

	switch (io->op) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
		for (uint32_t i = 0; i < io->nr_iov; i++) {
			size_t len = io->iov[i].iov_len;

			if (io->op == XBDEV_OP_READ) {
				memcpy(io->iov[i].iov_base, ram->memory + at, len);
			} else {
				memcpy(ram->memory + at, io->iov[i].iov_base, len);
			}
			at += len;
		}
		if (io->op == XBDEV_OP_WRITE && io->offset == 0 &&
			memcmp(ram->memory, "grow", 4) == 0) {
			ram->memory[0] = 'G';
			ram->size += 1u << 20;
			host->resized(ram->device, ram->size);
		}
		return 0;
	case XBDEV_OP_FLUSH:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void *ram_main(void *arg)
{
	struct ram *ram = arg;

	pthread_mutex_lock(&ram->mutex);
	while (!ram->must_stop || ram->first != NULL) {
		struct xbdev_module_io *io = ram->first;

		if (io == NULL) {
			pthread_cond_wait(&ram->cond, &ram->mutex);
			continue;
		}
		ram->first = io->priv[0];
		if (ram->first == NULL) {
			ram->end = &ram->first;
		}
		pthread_mutex_unlock(&ram->mutex);
		host->complete(io, serve(ram, io));
		pthread_mutex_lock(&ram->mutex);
	}
	pthread_mutex_unlock(&ram->mutex);
	return NULL;
}

static int ram_open(struct xbdev_module_device *device, const union xbdev_module_value *values,
	struct xbdev_module_geometry *ret_geometry, void **ret_data, char *error, size_t error_size)
{
	struct ram *ram;

	if (values[PARAM_FAIL].boolean) {
		snprintf(error, error_size, "it was told to fail, label %s",
			values[PARAM_LABEL].string);
		return -EACCES;
	}
	ram = calloc(1, sizeof(*ram));
	if (ram == NULL) {
		return -ENOMEM;
	}
	ram->size = values[PARAM_SIZE].number;
	ram->memory = calloc(1, ram->size + (64u << 20));
	ram->device = device;
	ram->end = &ram->first;
	pthread_mutex_init(&ram->mutex, NULL);
	pthread_cond_init(&ram->cond, NULL);
	if (ram->memory == NULL || pthread_create(&ram->thread, NULL, ram_main, ram) != 0) {
		free(ram->memory);
		free(ram);
		return -ENOMEM;
	}
	*ret_geometry = (struct xbdev_module_geometry){
		.size_bytes = ram->size,
		.block_size = 512,
		.buffer_align = 1,
		.max_transfer = 64u << 10,
		.max_iov = 16,
		.queue_depth = 32,
		.ops = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH,
		.has_fua = true,
		.product = "module memory",
	};
	*ret_data = ram;
	return 0;
}

static void ram_close(void *data)
{
	struct ram *ram = data;

	pthread_mutex_lock(&ram->mutex);
	ram->must_stop = true;
	pthread_cond_signal(&ram->cond);
	pthread_mutex_unlock(&ram->mutex);
	pthread_join(ram->thread, NULL);
	pthread_mutex_destroy(&ram->mutex);
	pthread_cond_destroy(&ram->cond);
	free(ram->memory);
	free(ram);
}

static void ram_submit(void *data, void *channel, struct xbdev_module_io *io)
{
	struct ram *ram = data;

	(void)channel;
	io->priv[0] = NULL;
	pthread_mutex_lock(&ram->mutex);
	*ram->end = io;
	ram->end = (struct xbdev_module_io **)(void *)&io->priv[0];
	pthread_cond_signal(&ram->cond);
	pthread_mutex_unlock(&ram->mutex);
}

extern const struct xbdev_module xbdev_module;
const struct xbdev_module xbdev_module = {
	.abi = RAM_ABI,
	.size = sizeof(struct xbdev_module),
	.name = RAM_NAME,
	.help = "memory of a module, for tests",
	.params = params,
	.load = ram_load,
	.open = ram_open,
	.close = ram_close,
	.submit = ram_submit,
};
