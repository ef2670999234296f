/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates and keys as texts; whether they are good is for the libraries of TLS to say. */
#include "lib/rpc/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util/error.h"

#define PEM_MAX (1u << 20) /* bytes of a file */

/* All of a file as a text; one that is being written has perhaps another length than it had. */
int xrpc_pem_read_text(const char *path, char **ret_text, struct xu_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;
	char *text = NULL;

	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = -errno;
	} else if (st.st_size > PEM_MAX) {
		rc = -EFBIG;
	} else {
		text = calloc(1, (size_t)st.st_size + 1);
		rc = text == NULL                                       ? -ENOMEM
		     : read(fd, text, (size_t)st.st_size) == st.st_size ? 0
									: -EIO;
	}
	if (fd >= 0) {
		close(fd);
	}
	if (rc != 0) {
		free(text);
		xu_error_set_errno(err, rc, "reading %s", path);
		/* Whatever it was, it is a file that cannot be used. */
		return err->code = rc == -ENOMEM ? rc : -EINVAL;
	}
	*ret_text = text;
	return 0;
}

int xrpc_pem_read(const char *cert_path, const char *key_path, const char *client_ca_path,
	struct xrpc_pem *ret_pem, struct xu_error *err)
{
	struct xrpc_pem pem = {0};
	int rc = xrpc_pem_read_text(cert_path, &pem.cert, err);

	rc = rc != 0 ? rc : xrpc_pem_read_text(key_path, &pem.key, err);
	if (rc == 0 && client_ca_path != NULL) {
		rc = xrpc_pem_read_text(client_ca_path, &pem.client_ca, err);
	}
	if (rc != 0) {
		xrpc_pem_clear(&pem);
		return rc;
	}
	*ret_pem = pem;
	return 0;
}

int xrpc_pem_copy(const struct xrpc_pem *pem, struct xrpc_pem *ret_pem)
{
	struct xrpc_pem copy = {strdup(pem->cert), strdup(pem->key),
		pem->client_ca != NULL ? strdup(pem->client_ca) : NULL};

	if (copy.cert == NULL || copy.key == NULL ||
		(copy.client_ca == NULL) != (pem->client_ca == NULL)) {
		xrpc_pem_clear(&copy);
		return -ENOMEM;
	}
	*ret_pem = copy;
	return 0;
}

void xrpc_pem_clear(struct xrpc_pem *pem)
{
	if (pem->key != NULL) {
		explicit_bzero(pem->key, strlen(pem->key));
	}
	free(pem->cert);
	free(pem->key);
	free(pem->client_ca);
	*pem = (struct xrpc_pem){0};
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool xrpc_pem_is_same(const struct xrpc_pem *a, const struct xrpc_pem *b)
{
	return is_same_text(a->cert, b->cert) && is_same_text(a->key, b->key) &&
	       is_same_text(a->client_ca, b->client_ca);
}
