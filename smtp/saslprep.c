/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/saslprep.h"
#include <errno.h>
#include <stringprep.h>
#include "smtp/utf8.h"

/* RFC 4013 2.3: of ASCII only control characters are prohibited (RFC 3454 C.2.1), nothing changes.
 */
static int prepare_ascii(struct bytes in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] < ' ' || in.p[i] == 0x7f)
			return -EINVAL;
	}
	if (in.n > buf_space(out))
		return -ENOSPC;
	buf_put(out, in);
	return 0;
}

static int error_of(int rc)
{
	return rc == STRINGPREP_TOO_SMALL_BUFFER ? -ENAMETOOLONG : -EINVAL;
}

int saslprep(struct bytes in, enum saslprep_use use, struct buf *out)
{
	Stringprep_profile_flags flags =
		use == SASLPREP_STORED ? STRINGPREP_NO_UNASSIGNED : (Stringprep_profile_flags)0;
	char text[SASLPREP_MAX + 1];
	int err = 0;

	if (!utf8_needed(in))
		return prepare_ascii(in, out);
	if (!utf8_valid(in) || bytes_find(in, 0, 0) >= 0)
		return -EINVAL;
	if (in.n > SASLPREP_MAX)
		return -ENAMETOOLONG;
	memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	int rc = stringprep(text, sizeof(text), flags, stringprep_saslprep);
	if (rc != STRINGPREP_OK)
		err = error_of(rc);
	else if (strlen(text) > buf_space(out))
		err = -ENOSPC;
	else
		buf_str(out, text);
	explicit_bzero(text, sizeof(text));
	return err;
}
