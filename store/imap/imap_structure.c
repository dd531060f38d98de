/* SPDX-License-Identifier: BSD-3-Clause
 * ENVELOPE and BODYSTRUCTURE (RFC 3501 7.4.2) from a scanned message.  OWNER: one core's thread. */
#include "smtp/header.h"
#include "store/imap/imap_fetch.h"

#define ADDRESSES_MAX 1000 /* of one field in an ENVELOPE; chosen */

/* A field as an nstring, unfolded. */
static void put_field(
	struct access_out *o, struct scan_space *space, struct bytes header, struct bytes name)
{
	struct bytes value;
	struct buf b;

	buf_init(&b, space->text, sizeof(space->text));
	bool there = header_find(header, name, &value);
	if (there)
		header_unfold(&b, value);
	imap_put_nstring(o, buf_view(&b), there);
}

/* ---- ENVELOPE ---- */

static void put_address(struct access_out *o, const struct header_address *a)
{
	access_out_str(o, "(");
	switch (a->kind) {
	case HEADER_GROUP:
		access_out_str(o, "NIL NIL ");
		imap_put_string(o, buf_view(&a->name));
		access_out_str(o, " NIL");
		break;
	case HEADER_GROUP_END:
		access_out_str(o, "NIL NIL NIL NIL");
		break;
	default:
		imap_put_nstring(o, buf_view(&a->name), a->has_name);
		access_out_str(o, " ");
		imap_put_nstring(o, buf_view(&a->route), a->route.n);
		access_out_str(o, " ");
		imap_put_string(o, buf_view(&a->local));
		access_out_str(o, " ");
		/* NIL would mean a group: an address without a domain has an empty one. */
		imap_put_string(o, a->has_domain ? buf_view(&a->domain) : BYTES_NONE);
	}
	access_out_str(o, ")");
}

static bool put_addresses(struct access_out *o, struct bytes header, struct bytes name)
{
	struct header_address a;
	struct bytes value;
	unsigned n = 0;

	if (!header_find(header, name, &value))
		return false;
	struct header_addresses list = header_addresses_of(value);
	for (; n < ADDRESSES_MAX && header_address_next(&list, &a); n++) {
		if (n == 0)
			access_out_str(o, "(");
		put_address(o, &a);
	}
	if (n)
		access_out_str(o, ")");
	return n > 0;
}

void fetch_put_envelope(struct access_out *o, struct scan_space *space, struct bytes header)
{
	static const struct {
		const char *name, *instead; /* RFC 3501: sender and reply-to default to from */
	} lists[] = {
		{"From",     NULL  },
                {"Sender",   "From"},
                {"Reply-To", "From"},
                {"To",       NULL  },
		{"Cc",       NULL  },
                {"Bcc",      NULL  }
        };

	access_out_str(o, "(");
	put_field(o, space, header, BYTES_LIT("Date"));
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Subject"));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		access_out_str(o, " ");
		if (put_addresses(o, header, bytes_str(lists[i].name)))
			continue;
		if (!lists[i].instead || !put_addresses(o, header, bytes_str(lists[i].instead)))
			access_out_str(o, "NIL");
	}
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("In-Reply-To"));
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Message-ID"));
	access_out_str(o, ")");
}

/* ---- BODYSTRUCTURE ---- */

static void put_upper(struct access_out *o, struct bytes b)
{
	uint8_t text[64];
	size_t n = MIN(b.n, sizeof(text));

	for (size_t i = 0; i < n; i++)
		text[i] = ascii_upper(b.p[i]);
	imap_put_string(o, bytes_make(text, n));
}

static void put_params(struct access_out *o, struct scan_space *space, struct header_params p)
{
	struct bytes name;
	struct buf value;
	unsigned n = 0;

	for (;; n++) {
		buf_init(&value, space->text, sizeof(space->text));
		if (!header_param_next(&p, &name, &value))
			break;
		access_out_str(o, n ? " " : "(");
		put_upper(o, name);
		access_out_str(o, " ");
		imap_put_string(o, buf_view(&value));
	}
	access_out_str(o, n ? ")" : "NIL");
}

/* Content-Disposition, then language and location: the common end of extension data. */
static void put_extension(struct access_out *o, struct scan_space *space, struct bytes header)
{
	struct bytes value, type, sub;

	access_out_str(o, " ");
	if (header_find(header, BYTES_LIT("Content-Disposition"), &value)) {
		struct header_params p = header_type_parse(value, &type, &sub);
		access_out_str(o, "(");
		put_upper(o, type);
		access_out_str(o, " ");
		put_params(o, space, p);
		access_out_str(o, ")");
	} else {
		access_out_str(o, "NIL");
	}
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Content-Language"));
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Content-Location"));
}

/* Type and parameters of a part; defaults of RFC 2045 5.2 and 2046 5.1.5. */
static struct header_params part_type(
	struct scan_space *space, unsigned part, struct bytes *type, struct bytes *sub)
{
	const struct mime_part *p = &space->parts[part];
	struct bytes value;

	if (header_find(mime_part_header(&space->scan, part), BYTES_LIT("Content-Type"), &value)) {
		struct header_params params = header_type_parse(value, type, sub);
		if (type->n && sub->n)
			return params;
	} else if (p->kind == MIME_MESSAGE) {
		*type = BYTES_LIT("message");
		*sub = BYTES_LIT("rfc822");
		return (struct header_params){0};
	}
	*type = BYTES_LIT("text");
	*sub = BYTES_LIT("plain");
	return (struct header_params){.in = BYTES_LIT("; charset=us-ascii")};
}

static void put_encoding(struct access_out *o, struct bytes header)
{
	struct bytes value, type, sub;

	if (header_find(header, BYTES_LIT("Content-Transfer-Encoding"), &value))
		header_type_parse(value, &type, &sub);
	else
		type = BYTES_NONE;
	put_upper(o, type.n ? type : BYTES_LIT("7BIT"));
}

static void put_part(struct access_out *o, struct scan_space *space, unsigned part, bool extended);

static void put_multipart(
	struct access_out *o, struct scan_space *space, unsigned part, bool extended)
{
	struct bytes type, sub;
	struct header_params params = part_type(space, part, &type, &sub);
	int child = mime_part_child(&space->scan, part, 1);

	for (unsigned n = 2; child >= 0; n++) {
		put_part(o, space, (unsigned)child, extended);
		child = mime_part_child(&space->scan, part, n);
	}
	/* The grammar wants at least one part. */
	if (!space->parts[part].children)
		access_out_str(o, "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)");
	access_out_str(o, " ");
	put_upper(o, sub);
	if (!extended)
		return;
	access_out_str(o, " ");
	put_params(o, space, params);
	put_extension(o, space, mime_part_header(&space->scan, part));
}

/* What follows the size of a message part: its envelope, its body, its lines. */
static void put_message(
	struct access_out *o, struct scan_space *space, unsigned part, bool extended)
{
	int child = mime_part_child(&space->scan, part, 0);

	access_out_str(o, " ");
	fetch_put_envelope(o, space, mime_part_header(&space->scan, (unsigned)child));
	access_out_str(o, " ");
	put_part(o, space, (unsigned)child, extended);
}

static void put_single(struct access_out *o, struct scan_space *space, unsigned part, bool extended)
{
	const struct mime_part *p = &space->parts[part];
	struct bytes header = mime_part_header(&space->scan, part);
	struct bytes type, sub;
	struct header_params params = part_type(space, part, &type, &sub);
	bool message = p->kind == MIME_MESSAGE && p->children;

	if (!message && bytes_ieq(type, BYTES_LIT("message")) &&
		bytes_ieq(sub, BYTES_LIT("rfc822")))
		type = BYTES_LIT("application"); /* too deep to be shown: opaque */
	if (bytes_ieq(type, BYTES_LIT("multipart")))
		type = BYTES_LIT("application"); /* the same, or without a boundary */
	put_upper(o, type);
	access_out_str(o, " ");
	put_upper(o, sub);
	access_out_str(o, " ");
	put_params(o, space, params);
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Content-ID"));
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Content-Description"));
	access_out_str(o, " ");
	put_encoding(o, header);
	access_out_printf(o, " %llu", (unsigned long long)(p->end - p->body_offset));
	if (message)
		put_message(o, space, part, extended);
	if (message || bytes_ieq(type, BYTES_LIT("text")))
		access_out_printf(o, " %u", p->lines);
	if (!extended)
		return;
	access_out_str(o, " ");
	put_field(o, space, header, BYTES_LIT("Content-MD5"));
	put_extension(o, space, header);
}

/* Recursion is bounded by the scanner: MIME_DEPTH_MAX. */
static void put_part(struct access_out *o, struct scan_space *space, unsigned part, bool extended)
{
	access_out_str(o, "(");
	if (space->parts[part].kind == MIME_MULTIPART)
		put_multipart(o, space, part, extended);
	else
		put_single(o, space, part, extended);
	access_out_str(o, ")");
}

void fetch_put_structure(struct access_out *o, struct scan_space *space, bool extended)
{
	put_part(o, space, 0, extended);
}
