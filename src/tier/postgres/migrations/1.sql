-- Memories in WARM, one table for each dimension, because an index of vectors
-- wants a fixed length. A row never changes: it is put in, and later deleted.

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
    -- What the score of its text is multiplied by.
    norm real NOT NULL,
    -- Whether its vector came with it, rather than from its text.
    supplied boolean NOT NULL,
    -- Terms of text and metadata, each hashed with store and namespace, and the
    -- weight of each, of 2,016 at most.
    terms bigint[] NOT NULL,
    weights smallint[] NOT NULL,
    -- For people and other programs; the engine reads the record.
    metadata jsonb NOT NULL,
    vector bit({bits}) NOT NULL,
    -- The vector of its text, where the other one was supplied.
    text_vector bit({bits}),
    record bytea NOT NULL,
    PRIMARY KEY (store, namespace, id, seq)
) WITH (toast_tuple_target = 8160);

-- Vectors do not compress, and are read far quicker where the row is.
ALTER TABLE mnemo_warm_{bits} ALTER COLUMN vector SET STORAGE EXTERNAL;
ALTER TABLE mnemo_warm_{bits} ALTER COLUMN text_vector SET STORAGE EXTERNAL;

CREATE INDEX mnemo_warm_{bits}_times ON mnemo_warm_{bits} (store, namespace, created);

-- Without a list of what is still to be indexed: each recall would read it through,
-- which takes longer than all the rest.
CREATE INDEX mnemo_warm_{bits}_terms ON mnemo_warm_{bits} USING gin (terms) WITH (fastupdate = off);

-- Texts are found by their terms, so an index of their vectors, at about a
-- millisecond a store, is left out.
CREATE INDEX mnemo_warm_{bits}_vectors ON mnemo_warm_{bits}
    USING hnsw (vector bit_hamming_ops) WHERE supplied;
