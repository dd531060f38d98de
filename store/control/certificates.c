/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/certificates.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX                                                                                   \
	(4u << 20) /* chosen: a bundle of all public issuers is a quarter of a megabyte            \
		    */

struct file {
	uint8_t *p;
	size_t n;
};

struct certificates {
	bool ask; /* SMTP clients for theirs */
	struct file ca, client_chain, client_key;
	unsigned count;
	struct {
		char name[32];
		struct file chain, key;
	} identity[TLS_IDENTITIES_MAX];
};

struct reading {
	char *error;
	size_t error_n;
};

static int fail(struct reading *r, const char *key, const char *path, int err)
{
	snprintf(r->error, r->error_n, "key %s: cannot read %s: %s", key, path, strerror(-err));
	return err;
}

static int read_open(int fd, struct file *f)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > FILE_MAX)
		return -EFBIG;
	f->p = malloc((size_t)st.st_size + 1);
	if (!f->p)
		return -ENOMEM;
	while (f->n < (size_t)st.st_size) {
		ssize_t n = read(fd, f->p + f->n, (size_t)st.st_size - f->n);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		f->n += (size_t)n;
	}
	return 0;
}

static int read_file(struct reading *r, const char *key, const char *path, struct file *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : read_open(fd, f);

	if (fd >= 0)
		close(fd);
	return err < 0 ? fail(r, key, path, err) : 0;
}

static int read_identity(
	struct reading *r, struct certificates *c, const struct config_certificate *from)
{
	unsigned i = c->count;
	char key[48];

	snprintf(c->identity[i].name, sizeof(c->identity[i].name), "tls.certificates[%u]", i);
	snprintf(key, sizeof(key), "%s.chain", c->identity[i].name);
	c->count++;
	int err = read_file(r, key, from->chain, &c->identity[i].chain);
	snprintf(key, sizeof(key), "%s.key", c->identity[i].name);
	return err < 0 ? err : read_file(r, key, from->key, &c->identity[i].key);
}

int certificates_read(
	const struct config *c, struct certificates **certificates_r, char *error, size_t error_n)
{
	struct reading r = {error, error_n};
	const struct config_tls *t = &c->root.tls;
	struct certificates *made = calloc(1, sizeof(*made));
	int err = 0;

	*certificates_r = made;
	if (!made)
		return fail(&r, "tls", "certificates", -ENOMEM);
	made->ask = c->root.relay.certificates.n > 0;
	if (t->ca_file[0])
		err = read_file(&r, "tls.ca_file", t->ca_file, &made->ca);
	if (err == 0 && t->client_chain[0])
		err = read_file(&r, "tls.client_chain", t->client_chain, &made->client_chain);
	if (err == 0 && t->client_chain[0])
		err = read_file(&r, "tls.client_key", t->client_key, &made->client_key);
	for (unsigned i = 0; i < MIN(t->certificates_n, TLS_IDENTITIES_MAX) && err == 0; i++)
		err = read_identity(&r, made, &t->certificates[i]);
	if (err < 0)
		certificates_destroy(certificates_r);
	return err;
}

struct tls_config *certificates_tls(const struct certificates *c, char *error, size_t error_n)
{
	struct tls_identity_pem pem[TLS_IDENTITIES_MAX];
	struct tls_identity_pem client = {.name = "tls.client_chain",
		.chain = bytes_make(c->client_chain.p, c->client_chain.n),
		.key = bytes_make(c->client_key.p, c->client_key.n)};
	struct tls_conf conf = {.identities = pem,
		.client = c->client_chain.n ? &client : NULL,
		.identity_count = c->count,
		.ask_client_cert = c->ask,
		.ca_bundle = bytes_make(c->ca.p, c->ca.n)};

	for (unsigned i = 0; i < c->count; i++)
		pem[i] = (struct tls_identity_pem){.name = c->identity[i].name,
			.chain = bytes_make(c->identity[i].chain.p, c->identity[i].chain.n),
			.key = bytes_make(c->identity[i].key.p, c->identity[i].key.n)};
	return tls_config_create(&conf, error, error_n);
}

static void forget(struct file *f)
{
	if (f->p)
		explicit_bzero(f->p, f->n);
	free(f->p);
}

void certificates_destroy(struct certificates **certificates)
{
	struct certificates *c = *certificates;

	for (unsigned i = 0; c && i < c->count; i++) {
		forget(&c->identity[i].chain);
		forget(&c->identity[i].key);
	}
	if (c) {
		forget(&c->ca);
		forget(&c->client_chain);
		forget(&c->client_key);
	}
	free(c);
	*certificates = NULL;
}
