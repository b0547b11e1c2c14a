"""What runs inside other people's web servers: request spans get their usage attributes here."""
