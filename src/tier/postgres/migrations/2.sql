-- Memories in WARM, one table for each dimension, because an index of vectors
-- wants a fixed length. A row never changes: it is put in, and later deleted.

-- The first version had the vectors of texts, and no counts of their terms. An engine puts the
-- memories in again from its log.
DROP TABLE IF EXISTS mnemo_warm_{bits};

CREATE TABLE mnemo_warm_{bits} (
    -- Whose engine's, and within it whose memory.
    store bigint NOT NULL,
    namespace bigint NOT NULL,
    id bigint NOT NULL,
    -- When it came, by the engine's count: a memory that left and came back has
    -- two rows until the first is deleted.
    seq bigint NOT NULL,
    -- Milliseconds since 1970.
    created bigint NOT NULL,
    -- Whether it came with a vector.
    supplied boolean NOT NULL,
    -- Terms of text and metadata, each hashed with store and namespace, and how often each is in
    -- the text: 0 for metadata.
    terms bigint[] NOT NULL,
    counts smallint[] NOT NULL,
    -- Words of the text. Of a text of so many words, a term that occurs n times has a share of
    -- n / (n + 0.3 + 0.009 length), as in BM25.
    length integer NOT NULL,
    -- For people and other programs; the engine reads the record.
    metadata jsonb NOT NULL,
    -- The first bits of its vector: of the supplied one, or of that of its text.
    sketch bit({sketch}) NOT NULL,
    vector bit({bits}),
    record bytea NOT NULL,
    PRIMARY KEY (store, namespace, id, seq)
) WITH (toast_tuple_target = 8160);

-- Vectors do not compress, and are read far quicker where the row is.
ALTER TABLE mnemo_warm_{bits} ALTER COLUMN vector SET STORAGE EXTERNAL;

CREATE INDEX mnemo_warm_{bits}_times ON mnemo_warm_{bits} (store, namespace, created);

-- Without a list of what is still to be indexed: each recall would read it through,
-- which takes longer than all the rest.
CREATE INDEX mnemo_warm_{bits}_terms ON mnemo_warm_{bits} USING gin (terms) WITH (fastupdate = off);

-- Texts are found by their terms, and have no vector here.
CREATE INDEX mnemo_warm_{bits}_vectors ON mnemo_warm_{bits}
    USING hnsw (vector bit_hamming_ops) WHERE supplied;
