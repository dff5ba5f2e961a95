-- What the example reads. Loading it again changes nothing.
CREATE TABLE IF NOT EXISTS products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price_cents integer NOT NULL
);
INSERT INTO products VALUES (1, 'Teapot', 2450), (2, 'Kettle', 3900), (3, 'Cup', 780) ON CONFLICT DO NOTHING;
